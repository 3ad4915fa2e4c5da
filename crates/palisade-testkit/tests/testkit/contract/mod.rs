mod auto_traits;
mod faulty;
mod green;
mod honest;
mod probe;
mod red;

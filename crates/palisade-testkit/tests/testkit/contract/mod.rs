mod auto_traits;
mod careless;
mod faulty;
mod green;
mod honest;
mod messages;
mod probe;
mod red;

mod answers;
mod faults;
mod plans;
mod requests;
mod server;

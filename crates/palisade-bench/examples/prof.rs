use palisade_bench::{Work, benches};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let bench = benches().into_iter().find(|b| b.name == args[1]).unwrap();
    let Work::Calls(subjects) = bench.work else { panic!() };
    let mut s = subjects();
    let s = s.iter_mut().find(|s| s.name == args[2]).unwrap();
    s.call(args[3].parse().unwrap());
}

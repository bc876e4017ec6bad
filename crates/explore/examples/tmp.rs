//! tmp
use explore::history::*;
fn main() {
    let b: Vec<u32> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let bounds = table::Bounds { two_threads: b[0], three_threads: b[1] };
    let mut cols = vec![];
    for p in PROTOCOLS {
        let t = std::time::Instant::now();
        let c = table::column(p, bounds);
        println!("{} {:?} sched {} {:?} expect {:?}", c.protocol, c.numbers(), c.schedules, t.elapsed(), p.known());
        for f in &c.findings { println!("   {:?} {} | {} [{}] | {}p {}s {}", f.interleaving, f.scenario.name, f.failure.class, f.failure.message, f.failure.preemptions, f.failure.steps, f.failure.schedule); }
        cols.push(c);
    }
}

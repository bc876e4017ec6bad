//! tmp
use explore::command::*;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let mut o = Options::default();
    let mut i = 0;
    while i < a.len() { match a[i].as_str() {
        "--all" => o.all = true, "--json" => o.json = true, "--md" => o.markdown = true,
        "--svg" => { i += 1; o.svg = Some(a[i].clone().into()); }
        "--replay" => { i += 1; o.replay = Some(a[i].clone()); }
        "-n" => { i += 1; o.interleaving = Some(a[i].parse().unwrap()); }
        p => o.protocol = Some(p.into()), }; i += 1; }
    match run(&o, &mut std::io::stdout()) { Ok(s) => println!("{s:?}"), Err(e) => println!("error {e}") }
}

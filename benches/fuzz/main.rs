//! Throws mutated input at what reads from outside, for as long as it is told to.
//!
//! `cargo bench --bench fuzz -- [--target NAME]… [--seconds N] [--seed N]`
//!
//! Inputs are made from the tables in `tests/corpus/` and the files in `benches/fuzz/seeds/`, by
//! cutting, doubling, joining and changing bytes. An input that breaks something is written to
//! `benches/fuzz/seeds/`, where it stays and is tried first from then on.

mod mutate;
mod seeds;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use fastrand::Rng;

use mutate::mutate;
use target::Target;

/// The input at hand, for whoever has to say what broke.
static INPUT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Throws mutated input at what reads from outside.
#[derive(Debug, Parser)]
#[command(name = "fuzz")]
struct Args {
    /// Only this target (may be given several times)
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<Target>,
    /// How long for each target
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// Where the mutations come from; each run has another one, and says it
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// `cargo bench` passes this
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let targets = match args.targets.is_empty() {
        true => Target::value_variants().to_vec(),
        false => args.targets,
    };
    keep_what_breaks();
    for target in targets {
        let Some(mut check) = target.check() else {
            println!("{target:?}: skipped, needs the openssl command");
            continue;
        };
        let count = run(&mut *check, Duration::from_secs(args.seconds), seed);
        println!("{target:?}: {count} inputs from seed {seed}, nothing broke");
    }
    ExitCode::SUCCESS
}

/// Tries inputs until the time is up; how many.
fn run(check: &mut dyn FnMut(&[u8], &mut Rng), time: Duration, seed: u64) -> u64 {
    let seeds = seeds::all();
    let mut rng = Rng::with_seed(seed);
    let start = Instant::now();
    let mut count = 0;
    for input in &seeds {
        try_one(check, input.clone(), &mut rng);
        count += 1;
    }
    while start.elapsed() < time {
        for _ in 0..1000 {
            let input = mutate(&seeds, &mut rng);
            try_one(check, input, &mut rng);
            count += 1;
        }
    }
    count
}

fn try_one(check: &mut dyn FnMut(&[u8], &mut Rng), input: Vec<u8>, rng: &mut Rng) {
    if let Ok(mut at_hand) = INPUT.lock() {
        at_hand.clone_from(&input);
    }
    check(&input, rng);
}

/// Has an input that makes something panic written to the seeds.
fn keep_what_breaks() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        say(info);
        let Ok(input) = INPUT.lock() else { return };
        let folder = PathBuf::from(seeds::FOLDER);
        let path = folder.join(format!("{:08x}", crc32c::crc32c(&input)));
        match std::fs::write(&path, &*input) {
            Ok(()) => eprintln!("the input is kept in {}", path.display()),
            Err(error) => eprintln!("the input cannot be kept: {error}: {:?}", *input),
        }
    }));
}

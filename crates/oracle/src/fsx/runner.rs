//! The run: rounds of operations one by one, then bursts of all threads in their stripes.

use super::difference::{Difference, FsxDifference, Logged, first_difference};
use super::op::{Feature, Op, Verb};
use super::view::{View, ViewError};
use crate::random::Random;
use engine::types::{Fallocate, PAGE_BYTES};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// Operations kept for the report of a difference.
const LAST_OPS: usize = 20;
/// Operations one by one in a round.
const ROUND_OPS: u64 = 64;
/// Operations of each thread in a burst.
const BURST_OPS: u64 = 32;
/// Bytes read on both sides of a change.
const LOOK_AROUND_BYTES: u64 = 64;
/// A stripe of a burst is at least this long.
const STRIPE_BYTES_MIN: u64 = 4 * PAGE_BYTES;

/// What a run is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsxOptions {
    /// Operations in all; a run may do up to a burst more.
    pub ops: u64,
    /// What makes the run.
    pub seed: u64,
    /// Threads that work at the same time in a burst; with 1 there are no bursts. 1 ..= 64.
    pub threads: usize,
    /// The file stays within this size in bytes. At least 32 KiB.
    pub len_max: u64,
    /// An operation touches at most this many bytes. At least 1.
    pub op_bytes_max: u64,
    /// Collapse and insert use multiples of this many bytes: the block of the file system.
    pub block_bytes: u64,
}

impl Default for FsxOptions {
    fn default() -> FsxOptions {
        FsxOptions {
            ops: 10_000,
            seed: 1,
            threads: 1,
            len_max: 1 << 20,
            op_bytes_max: 64 << 10,
            block_bytes: PAGE_BYTES,
        }
    }
}

/// A feature that a view does not offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Name of the view.
    pub view: String,
    /// What it lacks.
    pub feature: Feature,
}

/// What a run without a difference has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsxReport {
    /// The seed.
    pub seed: u64,
    /// Operations done.
    pub ops: u64,
    /// How often each verb was done.
    pub counts: Vec<(Verb, u64)>,
    /// How many operations went through each view.
    pub by_view: Vec<(String, u64)>,
    /// Bytes that were compared.
    pub bytes_compared: u64,
    /// What was left out since a view does not offer it.
    pub missing: Vec<Missing>,
    /// The file's size at the end.
    pub size: u64,
}

/// Runs. `progress` is told the operations done after each round and may end the run early.
///
/// The file should be the run's own: it is cut to size 0 first. All views must be of that one file.
///
/// # Panics
/// If `options` is outside of its limits or `views` is empty.
pub fn run(
    options: &FsxOptions,
    views: &[Box<dyn View>],
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<FsxReport, Box<FsxDifference>> {
    assert!(!views.is_empty(), "a run needs a view");
    assert!((1..=64).contains(&options.threads), "1 to 64 threads");
    assert!(options.len_max >= 8 * PAGE_BYTES && options.op_bytes_max > 0 && options.block_bytes > 0);
    let mut run = Run::new(options, views);
    run.probe().map_err(|at| run.explain(0, *at))?;
    while run.done < options.ops {
        for _ in 0..ROUND_OPS.min(options.ops - run.done) {
            run.one()?;
        }
        run.verify_all()?;
        if options.threads > 1 {
            run.burst()?;
        }
        if progress(run.done).is_break() {
            break;
        }
    }
    run.verify_all()?;
    Ok(run.report())
}

/// An operation and what was wrong with it.
type Wrong = (Op, u64, Difference);

struct Run<'a> {
    options: &'a FsxOptions,
    views: &'a [Box<dyn View>],
    random: Random,
    /// The file as it must be.
    model: Vec<u8>,
    missing: Vec<(usize, Feature)>,
    done: u64,
    tally: Tally,
}

/// What was done, by one thread.
#[derive(Default)]
struct Tally {
    counts: [u64; Verb::ALL.len()],
    by_view: Vec<u64>,
    bytes_compared: u64,
    last: VecDeque<(Op, u64)>,
}

impl Tally {
    fn new(views: usize) -> Tally {
        Tally { by_view: vec![0; views], ..Tally::default() }
    }

    fn note(&mut self, op: Op, size: u64) {
        self.counts[op.verb.index()] += 1;
        self.by_view[op.view] += 1;
        if self.last.len() == LAST_OPS {
            self.last.pop_front();
        }
        self.last.push_back((op, size));
    }

    fn add(&mut self, other: Tally) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        for (mine, theirs) in self.by_view.iter_mut().zip(other.by_view) {
            *mine += theirs;
        }
        self.bytes_compared += other.bytes_compared;
        self.last.extend(other.last);
        while self.last.len() > LAST_OPS {
            self.last.pop_front();
        }
    }
}

impl<'a> Run<'a> {
    fn new(options: &'a FsxOptions, views: &'a [Box<dyn View>]) -> Run<'a> {
        let random = Random::new(options.seed);
        let tally = Tally::new(views.len());
        Run { options, views, random, model: Vec::new(), missing: Vec::new(), done: 0, tally }
    }

    /// Finds out what each view offers, and leaves the file empty.
    fn probe(&mut self) -> Result<(), Box<Wrong>> {
        let block = self.options.block_bytes;
        for (view, reach) in self.views.iter().enumerate() {
            for feature in [
                Feature::MappedRead,
                Feature::MappedWrite,
                Feature::Fallocate(Fallocate::Allocate),
                Feature::Fallocate(Fallocate::AllocateKeepSize),
                Feature::Fallocate(Fallocate::Punch),
                Feature::Fallocate(Fallocate::Zero),
                Feature::Fallocate(Fallocate::ZeroKeepSize),
                Feature::Fallocate(Fallocate::Collapse),
                Feature::Fallocate(Fallocate::Insert),
            ] {
                let verb = match feature {
                    Feature::MappedRead => Verb::MappedRead,
                    Feature::MappedWrite => Verb::MappedWrite,
                    Feature::Fallocate(mode) => Verb::Fallocate(mode),
                };
                let op = Op { verb, view, offset: block, len: block };
                let tried = reach.truncate(0).and_then(|()| reach.truncate(3 * block)).and_then(|()| match feature {
                    Feature::MappedRead => reach.mapped_read(0, &mut [0; 8]),
                    Feature::MappedWrite => reach.mapped_write(0, &[1; 8]),
                    Feature::Fallocate(mode) => reach.fallocate(mode, block, block),
                });
                match tried {
                    Ok(()) => {}
                    Err(error) if error.is_unsupported() => self.missing.push((view, feature)),
                    Err(error) => return Err(Box::new((op, 3 * block, Difference::Failed(error)))),
                }
            }
        }
        let op = Op { verb: Verb::Truncate, view: 0, offset: 0, len: 0 };
        self.views[0].truncate(0).map_err(|error| Box::new((op, 0, Difference::Failed(error))))
    }

    fn offers(&self, view: usize, verb: Verb) -> bool {
        verb.feature().is_none_or(|feature| !self.missing.contains(&(view, feature)))
    }

    fn size(&self) -> u64 {
        self.model.len() as u64
    }

    /// Does one operation of any kind.
    fn one(&mut self) -> Result<(), Box<FsxDifference>> {
        let op = self.choose();
        let size = self.size();
        self.done += 1;
        let mut bytes = vec![0; op.len as usize];
        let wrong = match self.apply(op, &mut bytes) {
            Ok(()) => self.check_size(op).and_then(|()| self.look_back(op)),
            Err(wrong) => Err(wrong),
        };
        wrong.map_err(|difference| self.explain(0, (op, size, *difference)))?;
        self.tally.note(op, size);
        Ok(())
    }

    /// An operation that is valid for the file as it is now.
    fn choose(&mut self) -> Op {
        loop {
            let view = self.random.below(self.views.len() as u64) as usize;
            let verb = pick_verb(&mut self.random);
            if !self.offers(view, verb) {
                continue;
            }
            if let Some((offset, len)) = self.place(verb) {
                return Op { verb, view, offset, len };
            }
        }
    }

    /// Where an operation may go; nothing if the file is too short or too long for it.
    fn place(&mut self, verb: Verb) -> Option<(u64, u64)> {
        let FsxOptions { len_max, op_bytes_max, block_bytes, .. } = *self.options;
        let (size, random) = (self.size(), &mut self.random);
        match verb {
            Verb::Read => {
                let offset = random.below(size + PAGE_BYTES);
                Some((offset, random.within(1, op_bytes_max)))
            }
            Verb::MappedRead => {
                let offset = some(random.below(size), size)?;
                // The rest of the last page is mapped too and reads as zeros.
                Some((offset, random.within(1, op_bytes_max.min(size.next_multiple_of(PAGE_BYTES) - offset))))
            }
            Verb::MappedWrite | Verb::Msync => {
                let offset = some(random.below(size), size)?;
                Some((offset, random.within(1, op_bytes_max.min(size - offset))))
            }
            Verb::Write | Verb::Fallocate(Fallocate::Allocate | Fallocate::Zero) => {
                // Mostly near what is there, sometimes far behind the end.
                let reach = if random.one_in(8) { len_max } else { (size + op_bytes_max / 4).min(len_max) };
                let offset = random.below(reach.min(len_max - 1));
                Some((offset, random.within(1, op_bytes_max.min(len_max - offset))))
            }
            Verb::Fallocate(Fallocate::AllocateKeepSize | Fallocate::Punch | Fallocate::ZeroKeepSize) => {
                let offset = random.below(len_max);
                Some((offset, random.within(1, op_bytes_max.min(len_max - offset))))
            }
            Verb::Fallocate(Fallocate::Collapse) => {
                // The range must end before the end of the file.
                let blocks = some(size.saturating_sub(1) / block_bytes, size)?;
                let first = some(random.below(blocks), blocks)?;
                let most = (op_bytes_max / block_bytes).max(1).min(blocks - first);
                Some((first * block_bytes, random.within(1, most) * block_bytes))
            }
            Verb::Fallocate(Fallocate::Insert) => {
                let room = (len_max - size) / block_bytes;
                let blocks = some(size.div_ceil(block_bytes), size)?;
                let len = random.within(1, some((op_bytes_max / block_bytes).max(1).min(room), room)?) * block_bytes;
                Some((random.below(blocks) * block_bytes, len))
            }
            Verb::Truncate => {
                let to = if random.one_in(16) { 0 } else { random.below(len_max) };
                Some((to, 0))
            }
            Verb::Fsync | Verb::Reopen => Some((0, 0)),
            Verb::Verify => Some((0, size)),
        }
    }

    /// Does the operation to the view and to the model. `bytes` has the operation's length.
    fn apply(&mut self, op: Op, bytes: &mut [u8]) -> Result<(), Box<Difference>> {
        let view = &self.views[op.view];
        let (start, end) = (op.offset as usize, (op.offset + op.len) as usize);
        match op.verb {
            Verb::Truncate => {
                view.truncate(op.offset).map_err(wrong)?;
                self.model.resize(start, 0);
            }
            Verb::Write => {
                self.random.fill(bytes);
                write_through(view.as_ref(), op, bytes)?;
                if self.model.len() < end {
                    self.model.resize(end, 0);
                }
                self.model[start..end].copy_from_slice(bytes);
            }
            Verb::Fallocate(mode) => {
                view.fallocate(mode, op.offset, op.len).map_err(wrong)?;
                fallocate_model(&mut self.model, mode, start, end);
            }
            Verb::Fsync => view.fsync().map_err(wrong)?,
            Verb::Reopen => view.reopen().map_err(wrong)?,
            Verb::Read | Verb::Verify | Verb::MappedRead | Verb::MappedWrite | Verb::Msync => {
                in_place(view.as_ref(), op, &mut self.model, 0, &mut self.random, bytes, &mut self.tally)?;
            }
        }
        Ok(())
    }

    fn check_size(&mut self, op: Op) -> Result<(), Box<Difference>> {
        // Through another view than the one that did it, by turns.
        let view = (op.view + self.done as usize) % self.views.len();
        let (expected, actual) = (self.size(), self.views[view].size().map_err(wrong)?);
        if expected == actual { Ok(()) } else { Err(Box::new(Difference::Size { expected, actual })) }
    }

    /// After every other change, reads what it touched and its neighbourhood through some view: a difference is then
    /// told with the operation that made it. Not always, since the read itself changes what is cached where.
    fn look_back(&mut self, op: Op) -> Result<(), Box<Difference>> {
        let changes = matches!(op.verb, Verb::Write | Verb::MappedWrite | Verb::Truncate | Verb::Fallocate(_));
        if !changes || self.random.one_in(2) {
            return Ok(());
        }
        let offset = op.offset.saturating_sub(LOOK_AROUND_BYTES);
        let len = op.offset + op.len + LOOK_AROUND_BYTES - offset;
        let view = self.random.below(self.views.len() as u64) as usize;
        self.apply(Op { verb: Verb::Read, view, offset, len }, &mut vec![0; len as usize])
    }

    /// Reads the whole file through every view.
    fn verify_all(&mut self) -> Result<(), Box<FsxDifference>> {
        for view in 0..self.views.len() {
            let op = Op { verb: Verb::Verify, view, offset: 0, len: self.size() };
            let mut bytes = vec![0; op.len as usize];
            let done = self.apply(op, &mut bytes).and_then(|()| self.check_size(op));
            done.map_err(|difference| self.explain(0, (op, op.len, *difference)))?;
        }
        Ok(())
    }

    /// All threads at the same time, each in its stripe.
    fn burst(&mut self) -> Result<(), Box<FsxDifference>> {
        let threads = self.options.threads as u64;
        let granule = self.views.iter().map(|view| view.granule_bytes()).max().unwrap_or(1).max(1);
        let whole = self.size() / granule * granule;
        let stripe = whole / threads / granule * granule;
        if stripe < STRIPE_BYTES_MIN {
            return Ok(());
        }
        let seeds: Vec<Random> = (0..threads).map(|n| self.random.fork(n)).collect();
        let size = self.size();
        let mut model = std::mem::take(&mut self.model);
        let this = &*self;
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = model
                .chunks_mut(stripe as usize)
                .zip(seeds)
                .enumerate()
                .map(|(n, (bytes, random))| scope.spawn(move || this.stripe(bytes, n as u64 * stripe, random)))
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("a view panicked")).collect()
        });
        self.model = model;
        let mut first = None;
        for (thread, (tally, failure)) in outcomes.into_iter().enumerate() {
            self.done += tally.counts.iter().sum::<u64>();
            if let Some((op, difference)) = failure.filter(|_| first.is_none()) {
                // Only this thread's own operations tell how its stripe came to be.
                self.tally.last.extend(tally.last.iter().copied());
                first = Some(self.explain(thread + 1, (op, size, difference)));
            }
            self.tally.add(tally);
        }
        first.map_or(Ok(()), Err)
    }

    /// One thread's part of a burst. `model` is its stripe, which starts at `start` in the file.
    fn stripe(&self, model: &mut [u8], start: u64, mut random: Random) -> (Tally, Option<(Op, Difference)>) {
        let mut tally = Tally::new(self.views.len());
        let mut bytes = Vec::new();
        let len = model.len() as u64;
        for _ in 0..BURST_OPS {
            let view = random.below(self.views.len() as u64) as usize;
            let verb = [
                Verb::Read,
                Verb::MappedRead,
                Verb::Write,
                Verb::MappedWrite,
                Verb::Fallocate(Fallocate::Punch),
                Verb::Fallocate(Fallocate::ZeroKeepSize),
                Verb::Fallocate(Fallocate::AllocateKeepSize),
                Verb::Msync,
            ][random.below(8) as usize];
            if !self.offers(view, verb) {
                continue;
            }
            let at = random.below(len);
            let op =
                Op { verb, view, offset: start + at, len: random.within(1, self.options.op_bytes_max.min(len - at)) };
            bytes.clear();
            bytes.resize(op.len as usize, 0);
            let reach = self.views[view].as_ref();
            if let Err(difference) = in_place(reach, op, model, start, &mut random, &mut bytes, &mut tally) {
                return (tally, Some((op, *difference)));
            }
            tally.note(op, start + len);
        }
        (tally, None)
    }

    fn explain(&self, thread: usize, (op, size, difference): Wrong) -> Box<FsxDifference> {
        let logged =
            |number, op: Op, size| Logged { number, thread, view: self.views[op.view].name().to_owned(), op, size };
        let last = self.tally.last.iter().rev().take(LAST_OPS).rev();
        let first_number = self.done.saturating_sub(last.len() as u64);
        let last = last.zip(first_number..).map(|(&(op, size), number)| logged(number, op, size)).collect();
        Box::new(FsxDifference { seed: self.options.seed, at: logged(self.done, op, size), difference, last })
    }

    fn report(self) -> FsxReport {
        let name = |view: usize| self.views[view].name().to_owned();
        FsxReport {
            seed: self.options.seed,
            ops: self.done,
            counts: Verb::ALL.into_iter().zip(self.tally.counts).filter(|row| row.1 > 0).collect(),
            by_view: self.tally.by_view.iter().enumerate().map(|(view, &n)| (name(view), n)).collect(),
            bytes_compared: self.tally.bytes_compared,
            missing: self.missing.iter().map(|&(view, feature)| Missing { view: name(view), feature }).collect(),
            size: self.model.len() as u64,
        }
    }
}

/// What does not change the size and so may run in a stripe. `model` starts at `start` in the file.
fn in_place(
    view: &dyn View,
    op: Op,
    model: &mut [u8],
    start: u64,
    random: &mut Random,
    bytes: &mut [u8],
    tally: &mut Tally,
) -> Result<(), Box<Difference>> {
    let first = ((op.offset - start) as usize).min(model.len());
    let last = ((op.offset + op.len - start) as usize).min(model.len());
    match op.verb {
        Verb::Read | Verb::Verify => {
            let (expected, actual) = (last - first, view.read(op.offset, bytes).map_err(wrong)?);
            if actual != expected {
                return Err(Box::new(Difference::Length { expected: expected as u64, actual: actual as u64 }));
            }
            tally.bytes_compared += expected as u64;
            compare(op.offset, &model[first..last], &bytes[..expected])
        }
        Verb::MappedRead => {
            view.mapped_read(op.offset, bytes).map_err(wrong)?;
            tally.bytes_compared += op.len;
            let (inside, behind) = bytes.split_at(last - first);
            compare(op.offset, &model[first..last], inside)?;
            compare(op.offset + inside.len() as u64, &vec![0; behind.len()], behind)
        }
        Verb::Write | Verb::MappedWrite => {
            random.fill(bytes);
            if op.verb == Verb::Write {
                write_through(view, op, bytes)?;
            } else {
                view.mapped_write(op.offset, bytes).map_err(wrong)?;
            }
            model[first..last].copy_from_slice(bytes);
            Ok(())
        }
        Verb::Fallocate(mode) => {
            view.fallocate(mode, op.offset, op.len).map_err(wrong)?;
            if matches!(mode, Fallocate::Punch | Fallocate::ZeroKeepSize) {
                model[first..last].fill(0);
            }
            Ok(())
        }
        Verb::Msync => view.msync(op.offset, op.len).map_err(wrong),
        Verb::Truncate | Verb::Fsync | Verb::Reopen => unreachable!("not an operation of a stripe"),
    }
}

fn write_through(view: &dyn View, op: Op, bytes: &[u8]) -> Result<(), Box<Difference>> {
    match view.write(op.offset, bytes).map_err(wrong)? as u64 {
        actual if actual == op.len => Ok(()),
        actual => Err(Box::new(Difference::Length { expected: op.len, actual })),
    }
}

#[allow(clippy::unnecessary_box_returns)] // it is the error half of every result here
fn wrong(error: ViewError) -> Box<Difference> {
    Box::new(Difference::Failed(error))
}

fn compare(offset: u64, expected: &[u8], actual: &[u8]) -> Result<(), Box<Difference>> {
    first_difference(offset, expected, actual).map_or(Ok(()), |difference| Err(Box::new(difference)))
}

/// What a mode of `fallocate` does to the bytes.
fn fallocate_model(model: &mut Vec<u8>, mode: Fallocate, start: usize, end: usize) {
    let inside = start.min(model.len())..end.min(model.len());
    match mode {
        Fallocate::AllocateKeepSize => {}
        Fallocate::Punch | Fallocate::ZeroKeepSize => model[inside].fill(0),
        Fallocate::Allocate => model.resize(model.len().max(end), 0),
        Fallocate::Zero => {
            model[inside].fill(0);
            model.resize(model.len().max(end), 0);
        }
        Fallocate::Collapse => {
            model.drain(start..end);
        }
        Fallocate::Insert => {
            model.splice(start..start, std::iter::repeat_n(0, end - start));
        }
    }
}

/// `value`, unless there is nothing to choose from.
fn some(value: u64, from: u64) -> Option<u64> {
    (from > 0).then_some(value)
}

/// The mixture: mostly reads and stores, all else often enough to matter.
fn pick_verb(random: &mut Random) -> Verb {
    match random.below(100) {
        0..16 => Verb::Read,
        16..32 => Verb::Write,
        32..46 => Verb::MappedRead,
        46..60 => Verb::MappedWrite,
        60..68 => Verb::Truncate,
        68..71 => Verb::Fallocate(Fallocate::Allocate),
        71..74 => Verb::Fallocate(Fallocate::AllocateKeepSize),
        74..80 => Verb::Fallocate(Fallocate::Punch),
        80..83 => Verb::Fallocate(Fallocate::Zero),
        83..86 => Verb::Fallocate(Fallocate::ZeroKeepSize),
        86..90 => Verb::Fallocate(Fallocate::Collapse),
        90..94 => Verb::Fallocate(Fallocate::Insert),
        94..96 => Verb::Msync,
        96..98 => Verb::Fsync,
        _ => Verb::Reopen,
    }
}

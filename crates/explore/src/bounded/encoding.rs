//! A schedule as one string.
//!
//! The form is ours and stays as it is: `dx1-` and then runs, each a task and how many decisions in
//! a row chose it. Task 0 is `a`, task 25 is `z`, beyond that `(26)`-like tasks are written `_26_`.
//! A count of one is left out: `dx1-a12bab3`. Where the schedule came from the random part, the
//! seed of the data that the scenario drew stands first: `dx1-s9f3-a4b`. The characters need no
//! quoting in a shell, a URL or a file name.

use std::fmt::Write as _;

/// What the string starts with; the number is the version of the form.
const PREFIX: &str = "dx1-";
/// The longest schedule that is read back, in decisions.
const MAX_DECISIONS: usize = 4_000_000;

/// Why a string is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The prefix is missing or of another version.
    #[error("a schedule starts with \"{PREFIX}\"")]
    Prefix,
    /// A character that has no meaning where it stands.
    #[error("byte {at} of the schedule cannot be read")]
    Malformed {
        /// Where, in bytes after the prefix.
        at: usize,
    },
    /// More decisions than anything here produces.
    #[error("the schedule is longer than {MAX_DECISIONS} decisions")]
    TooLong,
}

/// A schedule: the task chosen at each decision, and the seed of drawn data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub seed: u64,
    pub path: Vec<u16>,
}

pub(crate) fn encode(schedule: &Schedule) -> String {
    let mut out = String::from(PREFIX);
    if schedule.seed != 0 {
        let _ = write!(out, "s{:x}-", schedule.seed);
    }
    for run in schedule.path.chunk_by(|a, b| a == b) {
        match u8::try_from(run[0]) {
            Ok(task) if task < 26 => out.push(char::from(b'a' + task)),
            _ => {
                let _ = write!(out, "_{}_", run[0]);
            }
        }
        if run.len() > 1 {
            let _ = write!(out, "{}", run.len());
        }
    }
    out
}

pub(crate) fn decode(text: &str) -> Result<Schedule, DecodeError> {
    let body = text.trim().strip_prefix(PREFIX).ok_or(DecodeError::Prefix)?;
    let (seed, runs) = match body.split_once('-') {
        Some((head, runs)) => {
            let digits = head.strip_prefix('s').ok_or(DecodeError::Malformed { at: 0 })?;
            let seed = u64::from_str_radix(digits, 16).map_err(|_| DecodeError::Malformed { at: 1 })?;
            (seed, runs)
        }
        None => (0, body),
    };
    let offset = body.len() - runs.len();
    let bytes = runs.as_bytes();
    let mut path = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let malformed = DecodeError::Malformed { at: offset + at };
        let task = match bytes[at] {
            letter @ b'a'..=b'z' => {
                at += 1;
                u16::from(letter - b'a')
            }
            b'_' => {
                let end = runs[at + 1..].find('_').ok_or(malformed.clone())? + at + 1;
                let task = runs[at + 1..end].parse().map_err(|_| malformed.clone())?;
                at = end + 1;
                task
            }
            _ => return Err(malformed),
        };
        let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let count = match &runs[at..at + digits] {
            "" => 1,
            number => number.parse::<usize>().map_err(|_| malformed.clone())?,
        };
        if count == 0 {
            return Err(malformed);
        }
        if path.len().saturating_add(count) > MAX_DECISIONS {
            return Err(DecodeError::TooLong);
        }
        path.extend(std::iter::repeat_n(task, count));
        at += digits;
    }
    Ok(Schedule { seed, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_survives_its_string() {
        let cases = [
            Schedule::default(),
            Schedule { seed: 0, path: vec![0] },
            Schedule { seed: 0, path: vec![0, 0, 0, 1, 0, 2, 2] },
            Schedule { seed: 0x9f3, path: vec![25, 26, 26, 300, 0] },
        ];
        for case in cases {
            assert_eq!(decode(&encode(&case)), Ok(case));
        }
    }

    #[test]
    fn the_form_is_stable() {
        let schedule = Schedule { seed: 0, path: vec![0, 0, 0, 1, 0, 27, 27] };
        assert_eq!(encode(&schedule), "dx1-a3ba_27_2");
    }

    #[test]
    fn what_is_not_a_schedule_is_refused() {
        assert_eq!(decode("a3"), Err(DecodeError::Prefix));
        assert_eq!(decode("dx1-a3?"), Err(DecodeError::Malformed { at: 2 }));
        assert_eq!(decode("dx1-a0"), Err(DecodeError::Malformed { at: 0 }));
        assert_eq!(decode("dx1-_7"), Err(DecodeError::Malformed { at: 0 }));
        assert_eq!(decode("dx1-szz-a"), Err(DecodeError::Malformed { at: 1 }));
        assert_eq!(decode("dx1-a99999999"), Err(DecodeError::TooLong));
    }
}

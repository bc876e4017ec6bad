//! Sizes as people write them: `4096`, `512K`, `1G`, `16 MiB`.
//!
//! Units are powers of 1024, with or without `iB` or `B`, in any case.

use thiserror::Error;

/// Why a text is no size.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SizeError {
    /// It does not begin with digits, or has an unknown unit.
    #[error("`{0}` is no size; write a whole number and a unit, such as 512M, 1G or 16GiB")]
    Syntax(String),
    /// It does not fit in 64 bits.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const UNITS: [(&str, u32); 6] = [("", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40), ("P", 50)];

/// Reads a size in bytes.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let syntax = || SizeError::Syntax(text.to_owned());
    let trimmed = text.trim();
    let digits_end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(digits_end);
    if digits.is_empty() {
        return Err(syntax());
    }
    let unit = unit.trim().to_ascii_uppercase();
    let prefix = match unit.strip_suffix("IB") {
        Some("") => return Err(syntax()),
        Some(prefix) => prefix,
        None => unit.strip_suffix('B').unwrap_or(&unit),
    };
    let shift = UNITS.iter().find(|(name, _)| *name == prefix).ok_or_else(syntax)?.1;
    let too_large = || SizeError::TooLarge(text.to_owned());
    let number: u64 = digits.parse().map_err(|_| too_large())?;
    number.checked_mul(1 << shift).ok_or_else(too_large)
}

/// Writes a size: exact with the largest unit that divides it, else with one
/// decimal, rounded down.
pub fn format_size(bytes: u64) -> String {
    let (unit, shift) = *UNITS.iter().rev().find(|(_, shift)| bytes >= 1 << shift).unwrap_or(&UNITS[0]);
    if shift == 0 {
        return format!("{bytes} B");
    }
    let whole = bytes >> shift;
    let rest = bytes & ((1 << shift) - 1);
    let tenths = (u128::from(rest) * 10) >> shift;
    if rest == 0 { format!("{whole} {unit}iB") } else { format!("{whole}.{tenths} {unit}iB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_every_spelling_of_the_unit() {
        for text in ["1G", "1g", "1GB", "1GiB", " 1 GiB ", "1024M", "1048576 kb", "1073741824", "1073741824B"] {
            assert_eq!(parse_size(text), Ok(1 << 30), "{text}");
        }
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("16T"), Ok(16 << 40));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "G", "-1", "1X", "1iB", "1.5G", "0x10", "1 G G", "1KK"] {
            assert!(matches!(parse_size(text), Err(SizeError::Syntax(_))), "{text}");
        }
        for text in ["99999999999999999999", "16384P"] {
            assert!(matches!(parse_size(text), Err(SizeError::TooLarge(_))), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_short() {
        assert_eq!(format_size(0), "0 B");
        assert_eq!(format_size(1023), "1023 B");
        assert_eq!(format_size(1 << 30), "1 GiB");
        assert_eq!(format_size((1 << 30) + (1 << 29)), "1.5 GiB");
        assert_eq!(format_size(u64::MAX), "16383.9 PiB");
    }
}

//! Sizes and numbers on the command line and in tables.

/// Reads `512M`, `1G`, `16 GiB`; for clap.
pub fn parse(text: &str) -> Result<u64, String> {
    pool::parse_size(text).map_err(|error| error.to_string())
}

/// Bytes for people: `1.5 GiB`.
pub fn show(bytes: u64) -> String {
    pool::format_size(bytes)
}

/// A time span for people, three digits: `950 ns`, `12.3 us`, `4.56 ms`, `1.23 s`.
pub fn show_nanos(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n < 1e3 => return format!("{n:.0} ns"),
        n if n < 1e6 => (n / 1e3, "us"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let places = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.places$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_three_digits() {
        let shown: Vec<String> = [950.0, 12_345.0, 4_560_000.0, 123_400_000.0, 1.23e9].map(show_nanos).to_vec();
        assert_eq!(shown, ["950 ns", "12.3 us", "4.56 ms", "123 ms", "1.23 s"]);
    }

    #[test]
    fn what_is_no_size_is_told_how_to_write_one() {
        assert_eq!(parse("64M"), Ok(64 << 20));
        assert!(parse("lots").unwrap_err().contains("1G"));
    }
}

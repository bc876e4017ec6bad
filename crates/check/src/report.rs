//! What was found: each finding with a severity, a code that never changes its meaning, and an exact place.
//!
//! A report is bounded: of each severity the first so many findings are kept and the others counted, so a pool of which
//! nothing is right does not fill the memory with complaints about it.

use std::fmt;

use format::{Block, FormatError, Ino};
use serde::Serialize;

/// Findings of each severity that a report keeps unless told otherwise.
pub const FINDINGS_MAX: usize = 1000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is lost and the pool works: leaked space, a slot that a crash has torn, reserved bytes in use.
    Warning,
    /// The pool is damaged: something is lost, or will be.
    Error,
    /// So damaged that what depends on it could not be looked at.
    Fatal,
}

impl fmt::Display for Severity {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        })
    }
}

/// Where it is. What does not apply is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Place {
    /// The block of the pool, or the first of `blocks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<u64>,
    /// How many blocks, if more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u64>,
    /// The inode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// The entry in the node, or the record in the inode block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// The record of the journal, by its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// The field, as `docs/format.md` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Place {
    /// At a block.
    pub fn block(block: Block) -> Place {
        Place { block: Some(block.0), ..Place::default() }
    }

    /// At an inode, with the block and the slot of its record.
    pub fn inode(ino: Ino) -> Place {
        Place { block: Some(ino.block().0), slot: Some(u64::from(ino.slot())), inode: Some(ino.0), ..Place::default() }
    }

    /// At blocks from `first` on.
    pub fn run(first: u64, count: u64) -> Place {
        Place { block: Some(first), blocks: (count > 1).then_some(count), ..Place::default() }
    }

    /// At an entry of a node: of the root in the inode's record if there is no block.
    pub fn entry(ino: Ino, node: Option<Block>, index: usize) -> Place {
        let block = node.unwrap_or(ino.block()).0;
        Place { block: Some(block), inode: Some(ino.0), slot: Some(index as u64), ..Place::default() }
    }

    /// At a record of the journal.
    pub fn record(seq: u64) -> Place {
        Place { record: Some(seq), ..Place::default() }
    }

    /// The same place, at a field.
    #[must_use]
    pub fn field(mut self, name: &str) -> Place {
        self.field = Some(name.to_owned());
        self
    }

    /// The same place, at the field that the format's error names first.
    #[must_use]
    pub fn field_of(self, error: &FormatError) -> Place {
        let word: String = error.why.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let name = match word.as_str() {
            "a" if error.why.contains("features") => "incompat",
            "a" => "version",
            "length" => "pool_len",
            "allocation" => "unit_blocks",
            // "value 3 has 7 bytes", "value 3 at 77, ..": of a slot.
            "value" if error.what != "journal entry" && error.why.contains(" has ") => "len",
            "value" if error.what != "journal entry" => "offset",
            // Of a journal entry, which packs them into one.
            "bits" if error.what == "journal entry" => "value",
            other => other,
        };
        self.field(name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.block, self.blocks) {
            (Some(first), Some(count)) => parts.push(format!("blocks {first} to {}", first.saturating_add(count - 1))),
            (Some(block), None) => parts.push(format!("block {block}")),
            _ => {}
        }
        parts.extend(self.inode.map(|inode| format!("inode {inode}")));
        parts.extend(self.slot.map(|slot| format!("slot {slot}")));
        parts.extend(self.record.map(|seq| format!("record {seq}")));
        parts.extend(self.field.as_ref().map(|field| format!("field {field}")));
        to.write_str(&parts.join(", "))
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing: a word for programs that keeps its meaning.
    pub code: &'static str,
    /// Where.
    pub place: Place,
    /// What, for people.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}: {} [{}]", self.severity, self.place, self.message, self.code)
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Records of the journal that the next opening replays.
    pub records: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// Directories among them.
    pub directories: u64,
    /// Inodes without a name that the next opening frees, or whose truncation it ends.
    pub orphans: u64,
    /// Names in directories.
    pub names: u64,
    /// Blocks that files, directories and inodes own.
    pub blocks: u64,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// The pool.
    pub pool: String,
    /// Whether the pool could be looked at. If not, a fatal finding says why.
    pub ran: bool,
    /// Findings in the order in which they were made; of each severity no more than the limit.
    pub findings: Vec<Finding>,
    /// All warnings, those not kept included.
    pub warnings: u64,
    /// All errors.
    pub errors: u64,
    /// All fatal findings.
    pub fatals: u64,
    /// Findings that are counted but not kept.
    pub left_out: u64,
    /// What was looked at.
    pub summary: Summary,
}

impl Report {
    /// Whether nothing is wrong; warnings do not count.
    pub fn is_clean(&self) -> bool {
        self.ran && self.errors == 0 && self.fatals == 0
    }

    /// As `fsck` ends: 0 clean (warnings may be there), 4 damaged, 8 could not run.
    pub fn exit_code(&self) -> u8 {
        match (self.ran, self.is_clean()) {
            (false, _) => 8,
            (true, false) => 4,
            (true, true) => 0,
        }
    }

    /// For people: a line for each finding, and a sum.
    pub fn text(&self) -> String {
        let mut text: String = self.findings.iter().map(|finding| format!("{finding}\n")).collect();
        if self.left_out > 0 {
            text += &format!("and {} more\n", self.left_out);
        }
        let verdict = match (self.exit_code(), self.warnings) {
            (8, _) => "could not be checked".to_owned(),
            (4, _) => format!("{} errors, {} warnings", self.errors + self.fatals, self.warnings),
            (_, 0) => "clean".to_owned(),
            (_, warnings) => format!("clean, with {warnings} warnings"),
        };
        text += &format!("{}: {verdict}", self.pool);
        if self.ran {
            let s = &self.summary;
            text += &format!(
                "; {} inodes ({} directories, {} orphans), {} names, {} blocks, {} journal records to replay",
                s.inodes, s.directories, s.orphans, s.names, s.blocks, s.records
            );
        }
        text + "\n"
    }

    /// For programs.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
    }

    /// Whether a finding with this code is among those kept.
    pub fn has(&self, code: &str) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }
}

/// Gathers findings up to the limit.
#[derive(Debug)]
pub(crate) struct Findings {
    pub report: Report,
    max: usize,
    kept: [usize; 3],
}

impl Findings {
    pub fn new(pool: String, max: usize) -> Findings {
        Findings { report: Report { pool, ..Report::default() }, max, kept: [0; 3] }
    }

    pub fn add(&mut self, severity: Severity, code: &'static str, place: Place, message: impl Into<String>) {
        let report = &mut self.report;
        let (kept, count) = match severity {
            Severity::Warning => (&mut self.kept[0], &mut report.warnings),
            Severity::Error => (&mut self.kept[1], &mut report.errors),
            Severity::Fatal => (&mut self.kept[2], &mut report.fatals),
        };
        *count += 1;
        if *kept == self.max {
            report.left_out += 1;
            return;
        }
        *kept += 1;
        report.findings.push(Finding { severity, code, place, message: message.into() });
    }

    pub fn warning(&mut self, code: &'static str, place: Place, message: impl Into<String>) {
        self.add(Severity::Warning, code, place, message);
    }

    pub fn error(&mut self, code: &'static str, place: Place, message: impl Into<String>) {
        self.add(Severity::Error, code, place, message);
    }

    pub fn fatal(&mut self, code: &'static str, place: Place, message: impl Into<String>) {
        self.add(Severity::Fatal, code, place, message);
    }
}

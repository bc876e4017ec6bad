//! How far a copy is, on a terminal; elsewhere nothing is shown.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar, or nothing.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// Whether somebody looks at standard error.
    pub fn is_shown() -> bool {
        std::io::stderr().is_terminal()
    }

    /// Shows nothing.
    pub fn hidden() -> Progress {
        Progress(None)
    }

    /// A bar for this many bytes.
    pub fn of_bytes(bytes: u64) -> Progress {
        let bar = ProgressBar::new(bytes);
        let form =
            "{bar:30} {percent:>3} %  {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress(Some(bar))
    }

    /// The file that is copied now.
    pub fn file(&self, name: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(name.to_owned());
        }
    }

    /// More bytes are done, or need not be.
    pub fn bytes(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// How far a run of many steps is, on a terminal; elsewhere nothing is shown.
#[derive(Debug)]
pub struct Spinner(Option<ProgressBar>);

impl Spinner {
    /// A bar for this many steps.
    pub fn of_steps(steps: u64) -> Spinner {
        if !Progress::is_shown() {
            return Spinner(None);
        }
        let bar = ProgressBar::new(steps);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {pos}/{len}  {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Spinner(Some(bar))
    }

    /// There are this many steps.
    pub fn of(&self, steps: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(steps);
        }
    }

    /// This many are done.
    pub fn at(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }

    /// What is done now.
    pub fn now(&self, what: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(what.to_owned());
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

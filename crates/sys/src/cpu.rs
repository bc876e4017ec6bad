//! What the processor can do about cache lines.
//!
//! A pool on persistent memory is durable once its lines have left the cache.
//! Three instructions push a line out: `clwb` keeps it cached, `clflushopt`
//! drops it, `clflush` drops it and waits. `core::arch` has only the last, so
//! the first two are written as assembly. Which one is used is asked of the
//! processor once. Processors without any (not x86-64) report
//! [`Flush::None`]; there a pool cannot be of class cpu-flush.

use std::fmt;

/// Bytes of a cache line.
pub const LINE_BYTES: usize = 64;

/// The instruction that pushes a cache line towards memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// No such instruction is known for this processor.
    None,
    /// `clflush`: ordered, drops the line.
    Clflush,
    /// `clflushopt`: unordered, drops the line.
    ClflushOpt,
    /// `clwb`: unordered, may keep the line.
    Clwb,
}

impl fmt::Display for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flush::None => "none",
            Flush::Clflush => "clflush",
            Flush::ClflushOpt => "clflushopt",
            Flush::Clwb => "clwb",
        })
    }
}

/// The best flush instruction of this processor.
pub fn flush_supported() -> Flush {
    imp::flush_supported()
}

/// Orders earlier flushes and streamed stores before later stores.
pub fn fence() {
    imp::fence();
}

/// Flushes the lines of `len` bytes at `start`.
///
/// # Safety
/// The range must be mapped and readable.
pub(crate) unsafe fn flush_lines(start: *const u8, len: usize) {
    if len == 0 {
        return;
    }
    let how = flush_supported();
    let first = start as usize & !(LINE_BYTES - 1);
    let end = start as usize + len;
    let mut line = first;
    while line < end {
        // SAFETY: the line holds at least one byte of the caller's range, so
        // it is mapped; flushing changes no value.
        unsafe { imp::flush_line(line as *const u8, how) };
        line += LINE_BYTES;
    }
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use super::Flush;
    use core::arch::asm;
    use core::arch::x86_64::{__cpuid, __cpuid_count, _mm_clflush, _mm_sfence};
    use std::sync::OnceLock;

    pub(super) fn flush_supported() -> Flush {
        static FOUND: OnceLock<Flush> = OnceLock::new();
        *FOUND.get_or_init(|| {
            if __cpuid(0).eax >= 7 {
                let bits = __cpuid_count(7, 0).ebx;
                if bits & (1 << 24) != 0 {
                    return Flush::Clwb;
                }
                if bits & (1 << 23) != 0 {
                    return Flush::ClflushOpt;
                }
            }
            Flush::Clflush
        })
    }

    pub(super) fn fence() {
        // SAFETY: SSE is part of x86-64.
        #[allow(unused_unsafe)]
        unsafe {
            _mm_sfence();
        }
    }

    /// # Safety
    /// `line` must be mapped and `how` must be what the processor has.
    pub(super) unsafe fn flush_line(line: *const u8, how: Flush) {
        match how {
            // SAFETY: the caller vouches for the address and the instruction;
            // the instruction writes no register and no value of memory.
            Flush::Clwb => unsafe {
                asm!("clwb [{}]", in(reg) line, options(nostack, preserves_flags));
            },
            // SAFETY: as above.
            Flush::ClflushOpt => unsafe {
                asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags));
            },
            // SAFETY: as above; SSE2 is part of x86-64.
            Flush::Clflush => unsafe { _mm_clflush(line) },
            Flush::None => {}
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    use super::Flush;

    pub(super) fn flush_supported() -> Flush {
        Flush::None
    }

    pub(super) fn fence() {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    /// # Safety
    /// None needed: there is nothing to run.
    pub(super) unsafe fn flush_line(_line: *const u8, _how: Flush) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushing_and_fencing_changes_no_byte() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| n as u8).collect();
        let copy = bytes.clone();
        // SAFETY: the range is the vector's own.
        unsafe { flush_lines(bytes.as_ptr().wrapping_add(3), 990) };
        fence();
        assert_eq!(bytes, copy);
    }

    #[test]
    fn this_processor_names_its_flush() {
        let name = flush_supported().to_string();
        if cfg!(target_arch = "x86_64") {
            assert!(name.starts_with("cl"), "{name}");
        } else {
            assert_eq!(name, "none");
        }
    }
}

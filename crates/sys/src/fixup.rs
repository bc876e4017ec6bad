//! Copies that survive SIGBUS.
//!
//! Past the end of a file, and on broken memory, an access raises SIGBUS. A
//! program that would rather have an error copies with one particular
//! instruction, `rep movsb`, whose address is known: the handler looks whether
//! the fault was taken there and, if so, resumes right behind it. The
//! processor keeps the number of bytes still to do in a register, so the
//! caller learns exactly how far the copy came. No memory is remapped, no
//! thread-local state is kept, and any number of threads may do this at once.
//!
//! Every other SIGBUS goes to the handler that was installed before, or ends
//! the program as always. The handler is installed at the first use; a program
//! that installs its own later must pass foreign faults on.
//!
//! On processors other than x86-64 the kernel does the copy
//! (`process_vm_readv` on ourselves), which stops at the same byte or the page
//! before it.

/// Copies `len` bytes and gives how many were *not* copied because of SIGBUS.
///
/// # Safety
/// (1) The range of ordinary memory is valid, and exclusive if it is the
/// target; (2) the other range belongs to a window; (3) they do not overlap.
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { imp::copy(to, from, len) }
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use core::arch::global_asm;
    use core::ffi::{c_int, c_void};
    use core::ptr;
    use std::sync::{Once, OnceLock};

    // rdi: to, rsi: from, rdx: length. Answers in rax what is left.
    global_asm!(
        ".global daxle_sys_fixup_copy",
        ".hidden daxle_sys_fixup_copy",
        ".type daxle_sys_fixup_copy, @function",
        "daxle_sys_fixup_copy:",
        "mov rcx, rdx",
        ".global daxle_sys_fixup_at",
        ".hidden daxle_sys_fixup_at",
        "daxle_sys_fixup_at:",
        "rep movsb",
        ".global daxle_sys_fixup_resume",
        ".hidden daxle_sys_fixup_resume",
        "daxle_sys_fixup_resume:",
        "mov rax, rcx",
        "ret",
        ".size daxle_sys_fixup_copy, . - daxle_sys_fixup_copy",
    );

    unsafe extern "sysv64" {
        fn daxle_sys_fixup_copy(to: *mut u8, from: *const u8, len: usize) -> usize;
        fn daxle_sys_fixup_at();
        fn daxle_sys_fixup_resume();
    }

    pub(super) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) -> usize {
        install();
        // SAFETY: (1) the routine is the one above, with this signature;
        // (2) the ranges are as the caller promises; a fault of the window's
        // side is resumed behind the instruction.
        unsafe { daxle_sys_fixup_copy(to, from, len) }
    }

    /// The action that was in place before ours.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

    fn install() {
        static INSTALLED: Once = Once::new();
        // What was there is noted first, so that our handler always finds it.
        BEFORE.get_or_init(|| {
            // SAFETY: an all-zero `sigaction` is a valid place for the answer,
            // and nothing is changed by asking.
            unsafe {
                let mut before: libc::sigaction = core::mem::zeroed();
                libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before);
                before
            }
        });
        INSTALLED.call_once(|| {
            // SAFETY: (1) the struct is complete; (2) the handler looks at
            // registers only, so it is safe at any point of any thread.
            unsafe {
                let mut ours: libc::sigaction = core::mem::zeroed();
                ours.sa_sigaction = on_sigbus as *const () as usize;
                ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&raw mut ours.sa_mask);
                libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut());
            }
        });
    }

    extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let user = context.cast::<libc::ucontext_t>();
        // SAFETY: with SA_SIGINFO the kernel passes a live `ucontext_t`.
        let registers = unsafe { &mut (*user).uc_mcontext.gregs };
        let place = &mut registers[libc::REG_RIP as usize];
        if *place == daxle_sys_fixup_at as *const () as i64 {
            *place = daxle_sys_fixup_resume as *const () as i64;
            return;
        }
        pass_on(signal, info, context);
    }

    /// Gives a foreign fault to whoever had the signal before.
    fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let before = BEFORE.get();
        match before.map_or(libc::SIG_DFL, |before| before.sa_sigaction) {
            libc::SIG_DFL | libc::SIG_IGN => {
                // SAFETY: the default action takes no argument. The faulting
                // instruction runs again and ends the program.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            handler => {
                let with_info = before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0);
                // SAFETY: the address is a handler that the program installed,
                // of the shape that its flags tell.
                unsafe {
                    if with_info {
                        let call: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                            core::mem::transmute(handler);
                        call(signal, info, context);
                    } else {
                        let call: extern "C" fn(c_int) = core::mem::transmute(handler);
                        call(signal);
                    }
                }
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    use core::ffi::c_void;

    pub(super) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) -> usize {
        let target = libc::iovec { iov_base: to.cast::<c_void>(), iov_len: len };
        let source = libc::iovec { iov_base: from.cast_mut().cast::<c_void>(), iov_len: len };
        // SAFETY: (1) both vectors outlive the call; (2) the kernel checks
        // both ranges and reports a fault instead of raising it.
        let done = unsafe { libc::process_vm_readv(libc::getpid(), &raw const target, 1, &raw const source, 1, 0) };
        len - usize::try_from(done).unwrap_or(0)
    }
}

//! Memory: cache prefetch, huge pages, the limit of locked memory.
#![allow(unsafe_code)] // two hints and a limit; `cargo bench` shows the effect of each hint

/// Prefetches the cache line at `target` into all cache levels. Any address will do.
#[inline(always)]
pub(crate) fn prefetch<T>(target: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch changes no architectural state and never faults, whatever the address
        // (Intel's manual, volume 2, PREFETCHh).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(target.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

/// Allocates `count` copies of `value`, in huge pages as far as the kernel has them.
///
/// With small pages, random accesses to hundreds of megabytes would wait for page table walks as well.
/// All of the memory is written now, so that no later access takes a page fault.
pub(crate) fn filled<T: Copy>(value: T, count: usize) -> Box<[T]> {
    let mut memory = Vec::with_capacity(count);
    advise_huge_pages(memory.spare_capacity_mut());
    memory.resize(count, value);
    memory.into_boxed_slice()
}

/// Advises the kernel to back memory with transparent huge pages, before the first access (madvise(2), MADV_HUGEPAGE).
/// A refusal is ignored: small pages do.
fn advise_huge_pages<T>(memory: &mut [T]) {
    #[cfg(target_os = "linux")]
    {
        let page = 4096; // where pages are larger, the kernel refuses an address between them
        let start = memory.as_mut_ptr_range().start.cast::<u8>();
        let skip = start.align_offset(page);
        if let Some(length) = size_of_val(memory).checked_sub(skip) {
            // SAFETY: the range lies within `memory`, which is borrowed exclusively; this advice
            // changes neither contents nor access rights.
            unsafe { libc::madvise(start.wrapping_add(skip).cast(), length, libc::MADV_HUGEPAGE) };
        }
    }
}

/// Raises the limit of locked memory (RLIMIT_MEMLOCK) to infinity.
///
/// A refusal is ignored: CAP_IPC_LOCK does as well, and without either the kernel refuses the memory later.
pub(crate) fn raise_locked_limit() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: setrlimit reads one rlimit, which lives until after the call.
    let _ = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
}

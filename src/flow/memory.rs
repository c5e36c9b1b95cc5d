//! What the table asks of processor and kernel, for which the standard library has no safe way.
#![allow(unsafe_code)] // two hints; the benches show what each is worth

/// Begins to load the cache line at `target`, which is soon read and perhaps written. Any address
/// will do.
#[inline(always)]
pub(crate) fn prefetch<T>(target: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch changes nothing that the program could see and never faults, whatever
        // the address (Intel's manual, volume 2, PREFETCHh).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(target.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}

/// `count` copies of `value`, in huge pages as far as the kernel has them: random accesses to
/// hundreds of megabytes in small ones would wait for page tables as well.
///
/// All of it is written now, so that no access meets a page that is not there yet.
pub(super) fn filled<T: Copy>(value: T, count: usize) -> Box<[T]> {
    let mut memory = Vec::with_capacity(count);
    advise_huge_pages(memory.spare_capacity_mut());
    memory.resize(count, value);
    memory.into_boxed_slice()
}

/// Tells the kernel before the first access to `memory` (madvise(2), MADV_HUGEPAGE). If it has
/// none, small pages do.
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

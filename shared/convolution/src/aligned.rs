//! Zeroed `f32` storage that starts on a cache line, so that full vectors never straddle two.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

const ALIGNMENT: usize = 64;

/// A fixed-size block of floats.
///
/// It can be lent to several threads as a pointer ([`Aligned::pointer`]); whoever writes through that
/// vouches that no one else touches the same floats meanwhile.
pub(crate) struct Aligned {
    start: NonNull<f32>,
    floats: usize,
}

// SAFETY: the block owns its memory alone, and shared access through safe methods only reads.
unsafe impl Send for Aligned {}
// SAFETY: as above; writes through `pointer` are the writer's responsibility.
unsafe impl Sync for Aligned {}

impl Aligned {
    /// That many zeros.
    pub(crate) fn zeroed(floats: usize) -> Self {
        let layout = Self::layout(floats);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) }.cast();
        match NonNull::new(start) {
            Some(start) => Self { start, floats },
            None => handle_alloc_error(layout),
        }
    }

    fn layout(floats: usize) -> Layout {
        let layout = Layout::array::<f32>(floats.max(1)).and_then(|l| l.align_to(ALIGNMENT));
        match layout {
            Ok(layout) => layout,
            Err(_) => panic!("{floats} floats exceed the address space"),
        }
    }

    /// Floats it holds.
    pub(crate) fn len(&self) -> usize {
        self.floats
    }

    /// The first float, for reading and writing.
    pub(crate) fn pointer(&self) -> *mut f32 {
        self.start.as_ptr()
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: `floats` initialised floats start there; while the slice lives, no one writes them.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.floats) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `floats` initialised floats start there, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.floats) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this very layout.
        unsafe { dealloc(self.pointer().cast(), Self::layout(self.floats)) }
    }
}

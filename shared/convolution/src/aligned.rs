//! Zeroed `f32` storage, aligned to cache lines so that a full vector never crosses two.
//!
//! Blocks are allocated one after the other from regions that ask the system for huge pages. A model's weights are
//! read once an image; huge pages cut the TLB misses of that to a hundredth.

use memmap2::{MmapMut, MmapRaw};
use parking_lot::Mutex;
use std::sync::Arc;

const ALIGNMENT: usize = 64;

/// Bytes of a region. A block of more than half of it gets one of its own.
const REGION: usize = 64 << 20;

/// The region that the next blocks come from, and the bytes of it that are allocated. Freed blocks are not reused, so
/// that every new block is zero.
static OPEN: Mutex<Option<(Arc<MmapRaw>, usize)>> = Mutex::new(None);

/// A fixed-size block of floats.
///
/// Several threads may write it through [`Aligned::pointer`]; each guarantees that no other thread accesses the same
/// floats meanwhile.
pub(crate) struct Aligned {
    /// The region that holds the block; it is unmapped with its last block.
    region: Arc<MmapRaw>,
    /// Bytes from the region's start.
    offset: usize,
    floats: usize,
}

impl Aligned {
    /// A block of `floats` zeros.
    pub(crate) fn zeroed(floats: usize) -> Self {
        let bytes = floats
            .checked_mul(size_of::<f32>())
            .and_then(|bytes| bytes.checked_next_multiple_of(ALIGNMENT))
            .unwrap_or_else(|| panic!("{floats} floats exceed the address space"));
        let (region, offset) = if bytes > REGION / 2 {
            (region(bytes), 0)
        } else {
            share(bytes)
        };
        Self {
            region,
            offset,
            floats,
        }
    }

    /// Floats it holds.
    pub(crate) fn len(&self) -> usize {
        self.floats
    }

    /// The first float, for reading and writing.
    pub(crate) fn pointer(&self) -> *mut f32 {
        self.region.as_mut_ptr().wrapping_add(self.offset).cast()
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: `floats` floats of the region, zeroed at first, are this block's alone; while the slice lives, no
        // one writes them.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.floats) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.floats) }
    }
}

/// Allocates `bytes` bytes of the open region, or of a new one if the open one is too full.
fn share(bytes: usize) -> (Arc<MmapRaw>, usize) {
    let mut open = OPEN.lock();
    let (region, taken) = match open.take() {
        Some((region, taken)) if taken + bytes <= REGION => (region, taken),
        _ => (region(REGION), 0),
    };
    *open = Some((region.clone(), taken + bytes));
    (region, taken)
}

/// Maps `bytes` zeroed bytes; the system provides pages as they are written.
fn region(bytes: usize) -> Arc<MmapRaw> {
    let map = match MmapMut::map_anon(bytes) {
        Ok(map) => map,
        Err(error) => panic!("can't allocate {bytes} bytes: {error}"),
    };
    // A hint: the system may not know large pages, or have none left.
    #[cfg(target_os = "linux")]
    map.advise(memmap2::Advice::HugePage).ok();
    Arc::new(map.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zero_aligned_and_apart() {
        let mut blocks: Vec<_> = [0, 1, 17, REGION / 8, REGION / 4, REGION / 8, 3]
            .map(Aligned::zeroed)
            .into();
        for (number, block) in blocks.iter_mut().enumerate() {
            assert_eq!(block.pointer() as usize % ALIGNMENT, 0);
            assert!(block.as_slice().iter().all(|float| *float == 0.0));
            block.as_mut_slice().fill(number as f32 + 1.0);
        }
        for (number, block) in blocks.iter().enumerate() {
            let own = |float: &f32| *float == number as f32 + 1.0;
            assert!(block.as_slice().iter().all(own), "block {number}");
        }
    }
}

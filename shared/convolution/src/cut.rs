//! How a convolution's work is cut into chunks for threads.

use std::ops::Range;

/// The fewest multiply-adds of a chunk: about ten microseconds.
pub(crate) const CHUNK_MACS: usize = 400_000;
/// Chunks for each thread: enough that a preempted thread delays the others little.
pub(crate) const CHUNKS_A_THREAD: usize = 6;

/// How the work on a convolution is cut: blocks of units (output pixels, or tiles of them) times groups of panels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) units: usize,
    pub(crate) blocks: usize,
    pub(crate) groups: usize,
}

impl Cut {
    /// For layers whose weights are larger than their inputs: each thread reads its share of the weights once, and all
    /// inputs. Panels are cut into at most `wanted` equal groups, and units only if there are more threads than panels.
    pub(crate) fn by_panels(
        units: usize,
        panels: usize,
        (wanted, threads): (usize, usize),
    ) -> Self {
        let groups = panels.div_ceil(panels.div_ceil(wanted));
        let blocks = threads.min(wanted).div_ceil(groups).min(units);
        Self {
            units,
            blocks,
            groups,
        }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.blocks * self.groups
    }
}

/// Part `index` of `0..total` cut into `parts` of almost the same size.
pub(crate) fn part(total: usize, parts: usize, index: usize) -> Range<usize> {
    total * index / parts..total * (index + 1) / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_by_panels_keeps_all_threads_busy() {
        for panels in 1..=40 {
            for threads in 1..=16 {
                let cut = Cut::by_panels(49, panels, (CHUNKS_A_THREAD * threads, threads));
                assert!(cut.chunks() >= threads, "{panels} panels: {cut:?}");
                assert!(cut.groups <= panels, "{panels} panels: {cut:?}");
                assert!(
                    cut.blocks == 1 || panels < threads,
                    "{panels} panels: {cut:?}"
                );
                let sizes = (0..cut.groups).map(|group| part(panels, cut.groups, group).len());
                let largest = panels.div_ceil(cut.groups);
                assert!(sizes.clone().all(|size| size.abs_diff(largest) <= 1));
            }
        }
    }
}

//! The matrix registers of Intel AMX: detection, permission and configuration.
//!
//! Reference: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.

use super::panel::{SIDE, WORD};
use crate::precision::Precision;
use std::{arch::asm, sync::OnceLock};

/// Output channels that are computed at a time: two registers.
pub(crate) const WIDTH: usize = 2 * SIDE;

/// Whether the processor has the instructions and the system lets this process use the registers.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && permitted())
}

/// AMX-TILE, AMX-BF16 and AMX-INT8, as CPUID leaf 7 reports them.
fn has_instructions() -> bool {
    const INSTRUCTIONS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    std::arch::x86_64::__cpuid_count(7, 0).edx & INSTRUCTIONS == INSTRUCTIONS
}

/// Asks Linux for the registers, as <https://docs.kernel.org/arch/x86/xstate.html> says.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const XTILE_DATA: libc::c_ulong = 18;
    // SAFETY: a request with plain numbers, which changes nothing but what the process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Runs `times` register products, rounded down to a multiple of four: the register peak.
///
/// # Safety
/// The registers are [available].
pub(crate) unsafe fn multiply(precision: Precision, times: usize) {
    const SUMS: usize = 4;
    macro_rules! each_sum {
        ($multiply:literal) => {
            asm!(
                concat!($multiply, " tmm0, tmm4, tmm6"),
                concat!($multiply, " tmm1, tmm4, tmm7"),
                concat!($multiply, " tmm2, tmm5, tmm6"),
                concat!($multiply, " tmm3, tmm5, tmm7"),
                options(nostack, nomem),
            )
        };
    }
    // SAFETY: as the caller promises; what the registers hold does not matter.
    unsafe {
        let registers = Registers::configure(SIDE, SIDE);
        for _ in 0..times / SUMS {
            match precision {
                Precision::Int8 => each_sum!("tdpbusd"),
                _ => each_sum!("tdpbf16ps"),
            }
        }
        drop(registers);
    }
}

/// The operand of LDTILECFG.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The thread's matrix registers, configured for products until this is dropped.
pub(crate) struct Registers;

impl Registers {
    /// For `pixels` rows a register, and steps of `words` words.
    ///
    /// # Safety
    /// The registers are [available].
    pub(crate) unsafe fn configure(pixels: usize, words: usize) -> Self {
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let sizes = [
            (0..4, pixels, SIDE),
            (4..6, pixels, words),
            (6..8, words, SIDE),
        ];
        for (registers, rows, words) in sizes {
            for register in registers {
                configuration.rows[register] = rows as u8;
                configuration.row_bytes[register] = (words * WORD) as u16;
            }
        }
        // SAFETY: the registers are available; no size exceeds theirs.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
        Self
    }
}

impl Drop for Registers {
    /// Releases the registers, so that a context switch need not save them.
    fn drop(&mut self) {
        // SAFETY: the registers are available, or there would be none to drop.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

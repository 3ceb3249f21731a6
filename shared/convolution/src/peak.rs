//! The register peak: the most multiply-adds a second that an instruction set reaches, without memory accesses.

use crate::{
    kernels::{Isa, Lanes, Plain},
    threads::{Stage, Threads},
};

/// Independent accumulators: more than latency times throughput of the fused multiply-add.
const SUMS: usize = 12;
const STEPS: usize = 400_000;

/// The register peak in operations a second: a loop of multiply-adds (two operations each) on registers only, on all
/// `threads` at once. The best of `rounds`, each some milliseconds long.
///
/// # Panics
/// If the processor lacks `isa`.
pub fn peak(isa: Isa, threads: &Threads, rounds: usize) -> f64 {
    assert!(isa.available(), "{isa:?} is not available");
    let count = threads.count();
    let stages = [Stage::new(count, count), Stage::new(count, count)];
    let work = |_: usize, _: usize| {
        // SAFETY: the instruction set is available.
        std::hint::black_box(unsafe { spin(isa) });
    };
    let lanes = match isa {
        Isa::Portable => Plain::COUNT,
        Isa::Avx2 => 8,
        Isa::Avx512 => 16,
        Isa::Avx512Bf16 => 32,
        Isa::Avx512Vnni => 64,
        Isa::AmxBf16 => 32 * 16 * 16,
        Isa::AmxInt8 => 64 * 16 * 16,
    };
    let operations = (2 * lanes * SUMS * STEPS * count) as f64;
    let mut best = 0.0f64;
    for _ in 0..rounds {
        // The first stage brings the workers in; only the second is counted.
        threads.run(&stages, &work);
        let time = Stage::times(&stages).last().unwrap_or_default();
        best = best.max(operations / time.as_secs_f64());
    }
    best
}

/// # Safety
/// The processor has the instruction set.
unsafe fn spin(isa: Isa) -> f32 {
    // SAFETY: as the caller promises.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => avx512_bf16(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => avx512_vnni(),
            #[cfg(target_arch = "x86_64")]
            Isa::AmxBf16 | Isa::AmxInt8 => {
                crate::kernels::multiply(isa.precision(), SUMS * STEPS);
                0.0
            }
            _ => multiply_add::<Plain>(),
        }
    }
}

/// # Safety
/// The processor has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2() -> f32 {
    // SAFETY: as the caller promises.
    unsafe { multiply_add::<crate::kernels::Avx2>() }
}

/// # Safety
/// The processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512() -> f32 {
    // SAFETY: as the caller promises.
    unsafe { multiply_add::<crate::kernels::Avx512>() }
}

/// # Safety
/// The processor has AVX512-BF16.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn avx512_bf16() -> f32 {
    // SAFETY: as the caller promises.
    unsafe { multiply_add::<crate::kernels::Avx512Bf16>() }
}

/// # Safety
/// The processor has AVX512-VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn avx512_vnni() -> f32 {
    // SAFETY: as the caller promises.
    unsafe { multiply_add::<crate::kernels::Avx512Vnni>() }
}

/// # Safety
/// The processor has the vector's instruction set.
#[inline(always)]
unsafe fn multiply_add<L: Lanes>() -> f32 {
    // SAFETY: as the caller promises; the pointers lead to one float, and to `COUNT <= 16`.
    unsafe {
        let factors = std::hint::black_box([0.999_f32, 0.001]);
        let (a, b) = (L::splat(&factors[0]), L::splat(&factors[1]));
        let zeros = [0.0f32; 16];
        let mut sums = [L::start(zeros.as_ptr()); SUMS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = L::multiply_add(*sum, a, b);
            }
        }
        let mut total = L::zero();
        for sum in sums {
            total = L::add(total, L::complete(sum, zeros.as_ptr(), zeros.as_ptr()));
        }
        let mut lanes = [0.0; 16];
        L::store(total, lanes.as_mut_ptr());
        lanes.iter().sum()
    }
}

//! `cargo xtask setup`: finds or fetches LibTorch and makes the checkout reach it through the link
//! `.libtorch`.

use crate::checkout::Checkout;
use crate::libtorch::LibTorch;
use crate::prerequisites::{self, Fetch};
use crate::wheels::{Distribution, Kind};
use crate::{Outcome, cache, fetch, python, steps};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Makes plain `cargo build` work in this checkout. `wanted` asks for a variant; without it
/// whatever is there is kept.
pub(crate) fn run(checkout: &Checkout, wanted: Option<Kind>) -> Outcome {
    let link = checkout.libtorch_link();
    let named = find(&link, wanted)?;
    let in_place = named
        .as_ref()
        .is_some_and(|(found, _)| found.folder == link);
    if !in_place
        && link
            .symlink_metadata()
            .is_ok_and(|there| !there.is_symlink())
    {
        return Err(format!(
            "{} is no link, and stands in the way of the one that set-up makes: move it away",
            link.display()
        ));
    }
    let (found, origin) = match named {
        Some(named) => {
            prerequisites::check(checkout, None)?;
            named
        }
        None => {
            let distribution = Distribution::for_this_machine(wanted.unwrap_or(Kind::Cpu))?;
            let cache = cache::folder()?;
            let folder = distribution.libtorch_in(&cache.join(distribution.name()));
            let cached = LibTorch::inspect(&folder).ok();
            let fetch = Fetch {
                distribution: &distribution,
                cache: &cache,
            };
            prerequisites::check(checkout, cached.is_none().then_some(&fetch))?;
            let found = match cached {
                Some(found) => found,
                None => fetch::run(&distribution, &cache)?,
            };
            (found, "the cache")
        }
    };
    // Silent when nothing changes: `test` and `demo` come through here every time.
    point(checkout, &link, &found.folder, origin)
}

/// A LibTorch that the user names or an earlier set-up chose, and who named it; `None` if there is
/// none. One that is named and cannot be used is an error.
fn find(link: &Path, wanted: Option<Kind>) -> Outcome<Option<(LibTorch, &'static str)>> {
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let problem = |problem| {
            format!(
                "LIBTORCH_USE_PYTORCH is set, but {problem}: install PyTorch 2.11.0 for that \
                 Python, or unset LIBTORCH_USE_PYTORCH to have LibTorch downloaded"
            )
        };
        let folder = python::pytorch_folder().map_err(problem)?;
        let found = LibTorch::inspect(&folder)
            .and_then(|found| offering(found, wanted))
            .map_err(|text| problem(format!("in {}: {text}", folder.display())))?;
        return Ok(Some((found, "LIBTORCH_USE_PYTORCH")));
    }
    // Cargo hands the link down in LIBTORCH where the user has set nothing.
    let named = std::env::var_os("LIBTORCH").map(PathBuf::from);
    if let Some(folder) = named.filter(|named| !is_link(named, link)) {
        let found = usable(&folder)
            .and_then(|found| offering(found, wanted))
            .map_err(|text| {
                format!(
                    "LIBTORCH={}: {text}. Set it to the folder of an unpacked LibTorch 2.11.0, \
                     or unset it to have one downloaded",
                    folder.display()
                )
            })?;
        return Ok(Some((found, "LIBTORCH")));
    }
    let kept = LibTorch::inspect(link)
        .ok()
        .filter(|found| wanted.is_none_or(|kind| kind == found.kind));
    Ok(kept.map(|found| (found, "an earlier set-up")))
}

/// Whether `named` is the checkout's link, by whichever way its folder is reached.
fn is_link(named: &Path, link: &Path) -> bool {
    let place = |path: &Path| {
        let folder = path.parent()?.canonicalize().ok()?;
        Some(folder.join(path.file_name()?))
    };
    named == link || place(named).is_some_and(|here| place(link) == Some(here))
}

fn usable(folder: &Path) -> Result<LibTorch, String> {
    if !folder.is_absolute() {
        return Err("it is not an absolute path, and cargo builds in other folders".into());
    }
    LibTorch::inspect(folder)
}

/// A LibTorch with CUDA serves the CPU too.
fn offering(found: LibTorch, wanted: Option<Kind>) -> Result<LibTorch, String> {
    if wanted == Some(Kind::Cuda) && found.kind == Kind::Cpu {
        return Err("--cuda was asked for, but lib/libtorch_cuda.so is missing".into());
    }
    Ok(found)
}

/// Makes the link lead to `folder`, and says so if that is new.
fn point(checkout: &Checkout, link: &Path, folder: &Path, origin: &str) -> Outcome {
    if folder == link || fs::read_link(link).is_ok_and(|now| now == folder) {
        return Ok(());
    }
    let cannot = |error| format!("cannot make the link {}: {error}", link.display());
    if link.symlink_metadata().is_ok() {
        forget_bindings(checkout)?;
    }
    // Made aside and renamed, so that a build that runs now finds the old one or the new one.
    let aside = link.with_file_name(format!(".libtorch-{}", std::process::id()));
    let _ = fs::remove_file(&aside);
    symlink(folder, &aside).map_err(cannot)?;
    fs::rename(&aside, link).map_err(|error| {
        let _ = fs::remove_file(&aside);
        cannot(error)
    })?;
    eprintln!(
        "xtask: LibTorch is ready, from {origin}: .libtorch -> {}",
        folder.display()
    );
    Ok(())
}

/// Has the bindings built anew: cargo cannot see that the link leads elsewhere, and which
/// libraries are linked depends on the folder.
fn forget_bindings(checkout: &Checkout) -> Outcome {
    if !checkout.has_build() {
        return Ok(());
    }
    for profile in ["dev", "release"] {
        steps::run(
            "removing the old bindings of LibTorch",
            checkout
                .cargo()
                .args(["clean", "--quiet", "--package", "torch-sys", "--profile"])
                .arg(profile),
        )?;
    }
    Ok(())
}

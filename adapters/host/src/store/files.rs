//! Opening files that only their owner, who is the user of this process, may touch. Owners and
//! permission bits are a Unix matter; elsewhere the user's profile directory is private by its own
//! means.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::{MAX_BYTES, StoreError};

/// Makes `dir` (700) where it is missing, and checks that it is ours and only we can write to it.
pub(super) fn create_private_dir(dir: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(StoreError::io("make the directory", dir))?;
    // Follows links: a linked directory is as good as the directory that it leads to.
    let metadata = fs::metadata(dir).map_err(StoreError::io("look at", dir))?;
    if !metadata.is_dir() || mode(&metadata) & 0o022 != 0 {
        return Err(StoreError::OpenDirectory { path: dir.to_owned() });
    }
    check_owner(dir, &metadata)
}

/// What is in a file, wiped when it is dropped.
pub(super) type Contents = Zeroizing<Vec<u8>>;

/// Reads a file that must be plain, private and small; `None` where there is none.
pub(super) fn read_private(path: &Path) -> Result<Option<Contents>, StoreError> {
    match read(path)? {
        Some((_, mode)) if mode & 0o077 != 0 => {
            Err(StoreError::Exposed { path: path.to_owned(), mode })
        }
        file => Ok(file.map(|(contents, _)| contents)),
    }
}

/// Reads a file that must be plain and small, whoever else can read it, and its mode; `None` where
/// there is none.
pub(super) fn read(path: &Path) -> Result<Option<(Contents, u32)>, StoreError> {
    let file = match open_plain(path, OpenOptions::new().read(true)) {
        Err(StoreError::Io { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        file => file?,
    };
    let metadata = file.metadata().map_err(StoreError::io("look at", path))?;
    // A growing buffer would leave copies of the secret behind.
    let expected = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(MAX_BYTES);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(StoreError::io("read", path))?;
    if bytes.len() > MAX_BYTES {
        return Err(StoreError::TooBig { path: path.to_owned() });
    }
    Ok(Some((bytes, mode(&metadata))))
}

/// Opens a lock file, made where it is missing. Its contents are nobody's concern.
pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    open_plain(path, private(OpenOptions::new().read(true).write(true).create(true)))
}

/// Makes a new private file; one that exists is an error.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().write(true).create_new(true)).open(path)
}

/// Makes a rename in `dir` survive a loss of power. Elsewhere than on Unix a directory can't be
/// opened for this.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Opens a plain file of ours: no link is followed, and no pipe or device is waited for.
fn open_plain(path: &Path, options: &mut OpenOptions) -> Result<File, StoreError> {
    let not_a_file = || StoreError::NotAFile { path: path.to_owned() };
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags);
    }
    let file = options.open(path).map_err(|reason| {
        // Systems disagree on the error for a link, and a directory can't be opened for writing.
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => not_a_file(),
            _ => StoreError::io("open", path)(reason),
        }
    })?;
    #[cfg(not(unix))]
    if fs::symlink_metadata(path).map_err(StoreError::io("look at", path))?.is_symlink() {
        return Err(not_a_file());
    }
    let metadata = file.metadata().map_err(StoreError::io("look at", path))?;
    if !metadata.is_file() {
        return Err(not_a_file());
    }
    check_owner(path, &metadata)?;
    Ok(file)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// What another user owns is refused to root as well: whoever owns it decides what is in it.
#[cfg(unix)]
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
    let owner = std::os::unix::fs::MetadataExt::uid(metadata);
    let user = rustix::process::geteuid().as_raw();
    if owner == user {
        Ok(())
    } else {
        Err(StoreError::NotOurs { path: path.to_owned(), owner, user })
    }
}

#[cfg(not(unix))]
fn check_owner(_: &Path, _: &fs::Metadata) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0
}

//! Where the contents of files are kept: by their SHA-256, so that what is there once is stored once and never changes. Behind a trait, so that an object store
//! can take the disk's place. A store must never make a name of what somebody sent: its own are hashes and ids.

use axum::body::Bytes;
use futures_util::{Stream, StreamExt, stream};
use sha2::{Digest, Sha256};
use std::fs::TryLockError;
use std::io::{self, ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, SystemTime};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use uuid::Uuid;

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
/// What a store is at.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// Bytes of the beginning by which a kind is told.
pub const SNIFF_BYTES: usize = 8192;

/// Why a store can't.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another request writes the same upload.
    #[error("another request writes it")]
    Locked,
    /// The upload stands at so many bytes, and not where the caller thinks.
    #[error("it stands at {0} bytes")]
    OffsetMismatch(u64),
    /// More came than was announced.
    #[error("more bytes than were announced")]
    SizeExceeded,
    /// What was to come ended early; what had come is kept.
    #[error("it was cut")]
    Interrupted,
    /// No room is left.
    #[error("no room is left")]
    StorageFull,
    /// There is no such content.
    #[error("there is no such content")]
    NotFound,
    /// Anything else.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::StorageFull,
            ErrorKind::NotFound => Self::NotFound,
            _ => Self::Io(error),
        }
    }
}

/// A content that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// SHA-256 in hex: its name here.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Its first [`HEAD`] bytes.
    pub head: Vec<u8>,
}

/// Keeps uploads while they grow, and contents for good.
pub trait BlobStore: Send + Sync {
    /// Bytes of an upload that are here.
    fn received_bytes(&self, upload: Uuid) -> BoxFuture<'_, u64>;
    /// Adds to an upload what comes, from `offset` on, to `most` bytes in all; answers how many are here. What has come stays, whatever happens then.
    fn append(&self, upload: Uuid, offset: u64, most: u64, bytes: ByteStream) -> BoxFuture<'_, u64>;
    /// Makes of an upload a content. The upload stays until [`Store::discard`].
    fn finalize(&self, upload: Uuid) -> BoxFuture<'_, StoredBlob>;
    /// Forgets an upload.
    fn discard(&self, upload: Uuid) -> BoxFuture<'_, ()>;
    /// Reads `length` bytes of a content, from `from` on.
    fn read(&self, sha256: &str, from: u64, length: u64) -> BoxFuture<'_, ByteStream>;
    /// Contents that nobody has kept anew for `age`.
    fn list_older_than(&self, age: Duration) -> BoxFuture<'_, Vec<String>>;
    /// Forgets a content, unless it was kept anew within `age`.
    fn delete_if_older(&self, sha256: &str, age: Duration) -> BoxFuture<'_, ()>;
}

/// A store in a folder: `incoming/<upload>` and `<2 hex digits>/<sha256>`.
#[derive(Clone, Debug)]
pub struct DiskBlobStore {
    folder: PathBuf,
}

impl DiskBlobStore {
    /// Keeps everything below `folder`, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Whether it can be written to.
    pub fn check_writable(&self) -> io::Result<()> {
        let incoming = self.folder.join("incoming");
        std::fs::create_dir_all(&incoming)?;
        let probe = incoming.join(format!("probe-{}", std::process::id()));
        std::fs::write(&probe, b"")?;
        std::fs::remove_file(&probe)
    }

    fn upload_path(&self, upload: Uuid) -> PathBuf {
        self.folder.join("incoming").join(upload.simple().to_string())
    }

    /// The place of a content; none of what is no hash.
    fn blob_path(&self, sha256: &str) -> Result<PathBuf, StoreError> {
        let hash = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hash {
            return Err(StoreError::NotFound);
        }
        Ok(self.folder.join(&sha256[..2]).join(sha256))
    }

    async fn write(&self, upload: Uuid, offset: u64, most: u64, mut bytes: ByteStream) -> Result<u64, StoreError> {
        let path = self.upload_path(upload);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).await?.into_std().await;
        // One request at a time: two that resume the same would write over each other.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut at = file.metadata()?.len();
        if at != offset {
            return Err(StoreError::OffsetMismatch(at));
        }
        let mut file = File::from_std(file);
        file.seek(SeekFrom::Start(at)).await?;
        let outcome = loop {
            match bytes.next().await {
                None => break Ok(()),
                Some(Err(_)) => break Err(StoreError::Interrupted),
                Some(Ok(chunk)) => {
                    let after = at + chunk.len() as u64;
                    if after > most {
                        break Err(StoreError::SizeExceeded);
                    }
                    if let Err(error) = file.write_all(&chunk).await {
                        break Err(error.into());
                    }
                    at = after;
                }
            }
        };
        file.flush().await?;
        outcome.map(|()| at)
    }

    async fn make(&self, upload: Uuid) -> Result<StoredBlob, StoreError> {
        let path = self.upload_path(upload);
        let mut file = File::open(&path).await?;
        let (mut hash, mut head, mut size, mut buffer) = (Sha256::new(), Vec::new(), 0, vec![0; CHUNK_BYTES]);
        loop {
            let n = file.read(&mut buffer).await?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            head.extend_from_slice(&buffer[..n.min(SNIFF_BYTES - head.len().min(SNIFF_BYTES))]);
            size += n as u64;
        }
        // On the disk before the database says that it is there.
        file.sync_all().await?;
        let sha256: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        // Young, so that nobody sweeps it away before a row holds it.
        touch(&path).await?;
        let place = self.blob_path(&sha256)?;
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).await?;
        }
        match fs::hard_link(&path, &place).await {
            Ok(()) => {}
            // It is there already: young again, so that nobody sweeps it away.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => touch(&place).await?,
            // Not every file system has links.
            Err(_) => drop(fs::copy(&path, &place).await?),
        }
        if let Some(folder) = place.parent() {
            File::open(folder).await?.sync_all().await?;
        }
        Ok(StoredBlob { sha256, size, head })
    }

    async fn list_older(&self, age: Duration) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let Ok(mut folders) = fs::read_dir(&self.folder).await else { return Ok(found) };
        while let Some(folder) = folders.next_entry().await? {
            if folder.file_name().len() != 2 {
                continue;
            }
            let mut files = fs::read_dir(folder.path()).await?;
            while let Some(file) = files.next_entry().await? {
                if is_older(&file.metadata().await?, age)
                    && let Ok(name) = file.file_name().into_string()
                {
                    found.push(name);
                }
            }
        }
        Ok(found)
    }
}

async fn touch(place: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).open(place).await?.into_std().await;
    file.set_modified(SystemTime::now())
}

fn is_older(file: &std::fs::Metadata, age: Duration) -> bool {
    file.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|passed| passed > age)
}

impl BlobStore for DiskBlobStore {
    fn received_bytes(&self, upload: Uuid) -> BoxFuture<'_, u64> {
        Box::pin(async move {
            match fs::metadata(self.upload_path(upload)).await {
                Ok(file) => Ok(file.len()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn append(&self, upload: Uuid, offset: u64, most: u64, bytes: ByteStream) -> BoxFuture<'_, u64> {
        Box::pin(self.write(upload, offset, most, bytes))
    }

    fn finalize(&self, upload: Uuid) -> BoxFuture<'_, StoredBlob> {
        Box::pin(self.make(upload))
    }

    fn discard(&self, upload: Uuid) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match fs::remove_file(self.upload_path(upload)).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        })
    }

    fn read(&self, sha256: &str, from: u64, length: u64) -> BoxFuture<'_, ByteStream> {
        let place = self.blob_path(sha256);
        Box::pin(async move {
            let mut file = File::open(place?).await?;
            file.seek(SeekFrom::Start(from)).await?;
            let next = |(mut file, left): (File, u64)| async move {
                if left == 0 {
                    return Ok(None);
                }
                let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
                let n = file.read(&mut buffer).await?;
                if n == 0 {
                    return Err(io::Error::from(ErrorKind::UnexpectedEof));
                }
                buffer.truncate(n);
                Ok(Some((Bytes::from(buffer), (file, left - n as u64))))
            };
            let chunks: ByteStream = Box::pin(stream::try_unfold((file, length), next));
            Ok(chunks)
        })
    }

    fn list_older_than(&self, age: Duration) -> BoxFuture<'_, Vec<String>> {
        Box::pin(self.list_older(age))
    }

    fn delete_if_older(&self, sha256: &str, age: Duration) -> BoxFuture<'_, ()> {
        let place = self.blob_path(sha256);
        Box::pin(async move {
            let place = place?;
            if is_older(&fs::metadata(&place).await?, age) {
                fs::remove_file(&place).await?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> DiskBlobStore {
        DiskBlobStore::new(std::env::temp_dir().join(format!("pmo-store-{}", Uuid::new_v4())))
    }

    fn chunks(parts: &[&'static str], cut: bool) -> ByteStream {
        let mut all: Vec<io::Result<Bytes>> = parts.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect();
        all.extend(cut.then(|| Err(io::Error::from(ErrorKind::ConnectionReset))));
        Box::pin(stream::iter(all))
    }

    async fn whole(disk: &DiskBlobStore, sha256: &str, from: u64, length: u64) -> String {
        let mut read = disk.read(sha256, from, length).await.unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = read.next().await {
            all.extend_from_slice(&chunk.unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn an_upload_goes_on_where_it_was_cut_and_becomes_a_content() {
        let (disk, id) = (disk(), Uuid::new_v4());
        assert_eq!(disk.received_bytes(id).await.unwrap(), 0);
        assert!(matches!(disk.append(id, 0, 11, chunks(&["hello", " "], true)).await, Err(StoreError::Interrupted)));
        assert_eq!(disk.received_bytes(id).await.unwrap(), 6, "what has come stays");
        assert!(matches!(disk.append(id, 0, 11, chunks(&["x"], false)).await, Err(StoreError::OffsetMismatch(6))));
        assert!(matches!(
            disk.append(id, 6, 11, chunks(&["world, and more"], false)).await,
            Err(StoreError::SizeExceeded)
        ));
        assert_eq!(disk.append(id, 6, 11, chunks(&["wor", "ld"], false)).await.unwrap(), 11);
        let kept = disk.finalize(id).await.unwrap();
        assert_eq!((kept.size, kept.head.as_slice()), (11, &b"hello world"[..]));
        assert_eq!(kept.sha256, "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
        assert_eq!(disk.finalize(id).await.unwrap(), kept, "a repeat comes to the same");
        disk.discard(id).await.unwrap();
        disk.discard(id).await.unwrap();
        assert_eq!(whole(&disk, &kept.sha256, 0, 11).await, "hello world");
        assert_eq!(whole(&disk, &kept.sha256, 6, 3).await, "wor");
        std::fs::remove_dir_all(&disk.folder).unwrap();
    }

    #[tokio::test]
    async fn one_request_at_a_time_writes_an_upload() {
        let (disk, id) = (disk(), Uuid::new_v4());
        let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
        let slow: ByteStream =
            Box::pin(stream::unfold(receiver, |mut r| async move { r.recv().await.map(|item| (item, r)) }));
        let writer = disk.clone();
        let first = tokio::spawn(async move { writer.append(id, 0, 10, slow).await.unwrap() });
        // Once the second is taken, the first is being written.
        sender.send(Ok(Bytes::from_static(b"a"))).await.unwrap();
        sender.send(Ok(Bytes::from_static(b"b"))).await.unwrap();
        sender.send(Ok(Bytes::from_static(b"c"))).await.unwrap();
        assert!(matches!(disk.append(id, 0, 10, chunks(&["x"], false)).await, Err(StoreError::Locked)));
        drop(sender);
        assert_eq!(first.await.unwrap(), 3);
        std::fs::remove_dir_all(&disk.folder).unwrap();
    }

    #[tokio::test]
    async fn a_name_that_is_no_hash_leads_nowhere() {
        let disk = disk();
        for name in ["", "../../etc/passwd", &"A".repeat(64), &"../".repeat(22)[..64]] {
            assert!(matches!(disk.read(name, 0, 1).await, Err(StoreError::NotFound)), "{name}");
            assert!(matches!(disk.delete_if_older(name, Duration::ZERO).await, Err(StoreError::NotFound)), "{name}");
        }
    }

    #[tokio::test]
    async fn what_was_kept_anew_is_not_swept_away() {
        let (disk, id) = (disk(), Uuid::new_v4());
        disk.append(id, 0, 1, chunks(&["x"], false)).await.unwrap();
        let kept = disk.finalize(id).await.unwrap();
        let place = disk.blob_path(&kept.sha256).unwrap();
        let day = Duration::from_secs(86_400);
        let old = std::fs::File::options().append(true).open(&place).unwrap();
        old.set_modified(SystemTime::now() - 2 * day).unwrap();
        assert_eq!(disk.list_older_than(day).await.unwrap(), std::slice::from_ref(&kept.sha256));
        disk.finalize(id).await.unwrap();
        disk.delete_if_older(&kept.sha256, day).await.unwrap();
        assert_eq!(whole(&disk, &kept.sha256, 0, 1).await, "x");
        old.set_modified(SystemTime::now() - 2 * day).unwrap();
        disk.delete_if_older(&kept.sha256, day).await.unwrap();
        assert!(matches!(disk.read(&kept.sha256, 0, 1).await, Err(StoreError::NotFound)));
        std::fs::remove_dir_all(&disk.folder).unwrap();
    }
}

//! Content-addressed storage of file contents: each blob is stored once, under its SHA-256.
//!
//! The [`BlobStore`] trait allows an object store in place of the disk.
//!
//! Must not: derive a path from client input. Paths consist of hashes and upload ids.

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

/// Stream of bytes, as received or read.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
/// Boxed future of a store operation.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Read buffer size, in bytes.
const CHUNK_BYTES: usize = 128 * 1024;
/// Number of leading bytes that media type detection gets.
pub const SNIFF_BYTES: usize = 8192;

/// Error of a blob store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another request is writing the same upload.
    #[error("another request is writing this upload")]
    Locked,
    /// The upload has a different length than the caller's offset; carries the stored length.
    #[error("the upload has {0} bytes")]
    OffsetMismatch(u64),
    /// More bytes arrived than were announced.
    #[error("more bytes than announced")]
    SizeExceeded,
    /// The byte stream ended with an error; the bytes received so far are stored.
    #[error("the byte stream was interrupted")]
    Interrupted,
    /// No space is left.
    #[error("no space left")]
    StorageFull,
    /// The blob does not exist.
    #[error("blob not found")]
    NotFound,
    /// Any other I/O error.
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

/// A stored blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// SHA-256 in lowercase hex: the key of the blob.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// The first [`SNIFF_BYTES`] bytes.
    pub head: Vec<u8>,
}

/// Stores incomplete uploads and finished blobs.
pub trait BlobStore: Send + Sync {
    /// Returns the number of stored bytes of an upload, 0 if there are none.
    fn received_bytes(&self, upload: Uuid) -> BoxFuture<'_, u64>;
    /// Appends `bytes` to an upload at `offset` and returns the new length.
    ///
    /// Fails if `offset` is not the current length, if the length would exceed `max_size`, or if
    /// another request is writing. Bytes received before an error stay stored.
    fn append(&self, upload: Uuid, offset: u64, max_size: u64, bytes: ByteStream) -> BoxFuture<'_, u64>;
    /// Stores an upload as a blob.
    ///
    /// The upload itself stays until [`BlobStore::discard`]; a repeated call returns the same blob.
    fn finalize(&self, upload: Uuid) -> BoxFuture<'_, StoredBlob>;
    /// Deletes an upload, if it exists.
    fn discard(&self, upload: Uuid) -> BoxFuture<'_, ()>;
    /// Reads `length` bytes of a blob from `offset` on.
    fn read(&self, sha256: &str, offset: u64, length: u64) -> BoxFuture<'_, ByteStream>;
    /// Lists the keys of blobs that were last stored more than `age` ago.
    fn list_older_than(&self, age: Duration) -> BoxFuture<'_, Vec<String>>;
    /// Deletes a blob unless it was stored again within `age`.
    fn delete_if_older(&self, sha256: &str, age: Duration) -> BoxFuture<'_, ()>;
}

/// Blob store in a folder: `incoming/<upload>` and `<2 hex digits>/<sha256>`.
#[derive(Clone, Debug)]
pub struct DiskBlobStore {
    folder: PathBuf,
}

impl DiskBlobStore {
    /// Creates a store in `folder`; the folder is created on first use.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Checks that files can be written, by writing a probe file.
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

    /// Returns the path of a blob, or an error if `sha256` is not a hash.
    fn blob_path(&self, sha256: &str) -> Result<PathBuf, StoreError> {
        let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hash {
            return Err(StoreError::NotFound);
        }
        Ok(self.folder.join(&sha256[..2]).join(sha256))
    }

    async fn write(&self, upload: Uuid, offset: u64, max_size: u64, mut bytes: ByteStream) -> Result<u64, StoreError> {
        let path = self.upload_path(upload);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).await?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).await?.into_std().await;
        // One writer at a time: two requests that resume the same upload would overwrite each
        // other.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut length = file.metadata()?.len();
        if length != offset {
            return Err(StoreError::OffsetMismatch(length));
        }
        let mut file = File::from_std(file);
        file.seek(SeekFrom::Start(length)).await?;
        let outcome = loop {
            match bytes.next().await {
                None => break Ok(()),
                Some(Err(_)) => break Err(StoreError::Interrupted),
                Some(Ok(chunk)) => {
                    let new_length = length + chunk.len() as u64;
                    if new_length > max_size {
                        break Err(StoreError::SizeExceeded);
                    }
                    if let Err(error) = file.write_all(&chunk).await {
                        break Err(error.into());
                    }
                    length = new_length;
                }
            }
        };
        file.flush().await?;
        outcome.map(|()| length)
    }

    async fn store_blob(&self, upload: Uuid) -> Result<StoredBlob, StoreError> {
        let path = self.upload_path(upload);
        let mut file = File::open(&path).await?;
        let (mut hasher, mut head, mut size, mut buffer) = (Sha256::new(), Vec::new(), 0, vec![0; CHUNK_BYTES]);
        loop {
            let count = file.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            head.extend_from_slice(&buffer[..count.min(SNIFF_BYTES - head.len().min(SNIFF_BYTES))]);
            size += count as u64;
        }
        // The content must be on disk before the database references it.
        file.sync_all().await?;
        let sha256: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        // A recent modification time protects the blob from cleanup until a row references it.
        touch(&path).await?;
        let blob_path = self.blob_path(&sha256)?;
        if let Some(folder) = blob_path.parent() {
            fs::create_dir_all(folder).await?;
        }
        match fs::hard_link(&path, &blob_path).await {
            Ok(()) => {}
            // The blob exists already: renew its modification time to protect it from cleanup.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => touch(&blob_path).await?,
            // Fallback for file systems without hard links.
            Err(_) => drop(fs::copy(&path, &blob_path).await?),
        }
        if let Some(folder) = blob_path.parent() {
            File::open(folder).await?.sync_all().await?;
        }
        Ok(StoredBlob { sha256, size, head })
    }

    async fn list_older(&self, age: Duration) -> Result<Vec<String>, StoreError> {
        let mut keys = Vec::new();
        let Ok(mut folders) = fs::read_dir(&self.folder).await else { return Ok(keys) };
        while let Some(folder) = folders.next_entry().await? {
            if folder.file_name().len() != 2 {
                continue;
            }
            let mut files = fs::read_dir(folder.path()).await?;
            while let Some(file) = files.next_entry().await? {
                if is_older(&file.metadata().await?, age)
                    && let Ok(name) = file.file_name().into_string()
                {
                    keys.push(name);
                }
            }
        }
        Ok(keys)
    }
}

async fn touch(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().append(true).open(path).await?.into_std().await;
    file.set_modified(SystemTime::now())
}

fn is_older(metadata: &std::fs::Metadata, age: Duration) -> bool {
    metadata.modified().ok().and_then(|modified| modified.elapsed().ok()).is_some_and(|elapsed| elapsed > age)
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

    fn append(&self, upload: Uuid, offset: u64, max_size: u64, bytes: ByteStream) -> BoxFuture<'_, u64> {
        Box::pin(self.write(upload, offset, max_size, bytes))
    }

    fn finalize(&self, upload: Uuid) -> BoxFuture<'_, StoredBlob> {
        Box::pin(self.store_blob(upload))
    }

    fn discard(&self, upload: Uuid) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match fs::remove_file(self.upload_path(upload)).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        })
    }

    fn read(&self, sha256: &str, offset: u64, length: u64) -> BoxFuture<'_, ByteStream> {
        let path = self.blob_path(sha256);
        Box::pin(async move {
            let mut file = File::open(path?).await?;
            file.seek(SeekFrom::Start(offset)).await?;
            let next = |(mut file, remaining): (File, u64)| async move {
                if remaining == 0 {
                    return Ok(None);
                }
                let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(remaining).unwrap_or(CHUNK_BYTES))];
                let count = file.read(&mut buffer).await?;
                if count == 0 {
                    return Err(io::Error::from(ErrorKind::UnexpectedEof));
                }
                buffer.truncate(count);
                Ok(Some((Bytes::from(buffer), (file, remaining - count as u64))))
            };
            let chunks: ByteStream = Box::pin(stream::try_unfold((file, length), next));
            Ok(chunks)
        })
    }

    fn list_older_than(&self, age: Duration) -> BoxFuture<'_, Vec<String>> {
        Box::pin(self.list_older(age))
    }

    fn delete_if_older(&self, sha256: &str, age: Duration) -> BoxFuture<'_, ()> {
        let path = self.blob_path(sha256);
        Box::pin(async move {
            let path = path?;
            if is_older(&fs::metadata(&path).await?, age) {
                fs::remove_file(&path).await?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> DiskBlobStore {
        DiskBlobStore::new(std::env::temp_dir().join(format!("pmo-store-{}", Uuid::new_v4())))
    }

    fn byte_stream(parts: &[&'static str], interrupted: bool) -> ByteStream {
        let mut items: Vec<io::Result<Bytes>> =
            parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect();
        items.extend(interrupted.then(|| Err(io::Error::from(ErrorKind::ConnectionReset))));
        Box::pin(stream::iter(items))
    }

    async fn read_to_string(store: &DiskBlobStore, sha256: &str, from: u64, length: u64) -> String {
        let mut read = store.read(sha256, from, length).await.unwrap();
        let mut items = Vec::new();
        while let Some(chunk) = read.next().await {
            items.extend_from_slice(&chunk.unwrap());
        }
        String::from_utf8(items).unwrap()
    }

    #[tokio::test]
    async fn interrupted_upload_resumes_and_becomes_a_blob() {
        let (store, id) = (store(), Uuid::new_v4());
        assert_eq!(store.received_bytes(id).await.unwrap(), 0);
        assert!(matches!(
            store.append(id, 0, 11, byte_stream(&["hello", " "], true)).await,
            Err(StoreError::Interrupted)
        ));
        assert_eq!(store.received_bytes(id).await.unwrap(), 6, "received bytes stay stored");
        assert!(matches!(
            store.append(id, 0, 11, byte_stream(&["x"], false)).await,
            Err(StoreError::OffsetMismatch(6))
        ));
        assert!(matches!(
            store.append(id, 6, 11, byte_stream(&["world, and more"], false)).await,
            Err(StoreError::SizeExceeded)
        ));
        assert_eq!(store.append(id, 6, 11, byte_stream(&["wor", "ld"], false)).await.unwrap(), 11);
        let blob = store.finalize(id).await.unwrap();
        assert_eq!((blob.size, blob.head.as_slice()), (11, &b"hello world"[..]));
        assert_eq!(blob.sha256, "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
        assert_eq!(store.finalize(id).await.unwrap(), blob, "finalize is idempotent");
        store.discard(id).await.unwrap();
        store.discard(id).await.unwrap();
        assert_eq!(read_to_string(&store, &blob.sha256, 0, 11).await, "hello world");
        assert_eq!(read_to_string(&store, &blob.sha256, 6, 3).await, "wor");
        std::fs::remove_dir_all(&store.folder).unwrap();
    }

    #[tokio::test]
    async fn concurrent_writes_to_an_upload_are_rejected() {
        let (store, id) = (store(), Uuid::new_v4());
        let (sender, receiver) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
        let slow: ByteStream = Box::pin(stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        }));
        let writer = store.clone();
        let first = tokio::spawn(async move { writer.append(id, 0, 10, slow).await.unwrap() });
        // The third send succeeds only after the first append has begun to read the channel.
        sender.send(Ok(Bytes::from_static(b"a"))).await.unwrap();
        sender.send(Ok(Bytes::from_static(b"b"))).await.unwrap();
        sender.send(Ok(Bytes::from_static(b"c"))).await.unwrap();
        assert!(matches!(store.append(id, 0, 10, byte_stream(&["x"], false)).await, Err(StoreError::Locked)));
        drop(sender);
        assert_eq!(first.await.unwrap(), 3);
        std::fs::remove_dir_all(&store.folder).unwrap();
    }

    #[tokio::test]
    async fn names_that_are_not_hashes_are_not_found() {
        let store = store();
        for name in ["", "../../etc/passwd", &"A".repeat(64), &"../".repeat(22)[..64]] {
            assert!(matches!(store.read(name, 0, 1).await, Err(StoreError::NotFound)), "{name}");
            assert!(matches!(store.delete_if_older(name, Duration::ZERO).await, Err(StoreError::NotFound)), "{name}");
        }
    }

    #[tokio::test]
    async fn blobs_stored_again_recently_are_not_deleted() {
        let (store, id) = (store(), Uuid::new_v4());
        store.append(id, 0, 1, byte_stream(&["x"], false)).await.unwrap();
        let blob = store.finalize(id).await.unwrap();
        let path = store.blob_path(&blob.sha256).unwrap();
        let day = Duration::from_secs(86_400);
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - 2 * day).unwrap();
        assert_eq!(store.list_older_than(day).await.unwrap(), std::slice::from_ref(&blob.sha256));
        store.finalize(id).await.unwrap();
        store.delete_if_older(&blob.sha256, day).await.unwrap();
        assert_eq!(read_to_string(&store, &blob.sha256, 0, 1).await, "x");
        file.set_modified(SystemTime::now() - 2 * day).unwrap();
        store.delete_if_older(&blob.sha256, day).await.unwrap();
        assert!(matches!(store.read(&blob.sha256, 0, 1).await, Err(StoreError::NotFound)));
        std::fs::remove_dir_all(&store.folder).unwrap();
    }
}

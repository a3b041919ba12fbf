//! Files: drop zone and file picker, the file of an artifact, and the tray of running uploads.

mod artifact_file; // file of an artifact
mod attach; // file picker and drop zone
mod upload_tray; // tray of the running uploads

pub(crate) use artifact_file::ArtifactFile;
pub(crate) use attach::{FileDropZone, prevent_window_drop};
pub(crate) use upload_tray::UploadTray;

//! Requests about connection sync.

use super::Client;
use crate::control::api::path;
use crate::control::api::sync::{SyncRequest, SyncStatus};
use crate::model::Diagnostic;

impl Client {
    /// Returns the state of connection sync.
    ///
    /// # Errors
    /// [`Diagnostic`].
    pub async fn sync(&self) -> Result<SyncStatus, Diagnostic> {
        self.read(path::SYNC).await
    }

    /// Starts or stops a sync daemon.
    ///
    /// # Errors
    /// [`Diagnostic`]; in IPVS's words also if the daemon has or has not been started, or its interface is not there.
    pub async fn change_sync(&self, request: &SyncRequest) -> Result<(), Diagnostic> {
        let body = serde_json::to_vec(request);
        self.post(path::SYNC, body.map_err(|error| self.broken(error.to_string()))?).await
    }
}

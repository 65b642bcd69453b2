//! The rows of a result, a page at a time.

use super::row::{Column, Row};
use super::stub::DbClient;
use super::{millis, proto};
use crate::Result;
use std::sync::Arc;
use std::time::Duration;

/// The rows of a result. A page is held, and the next one asked for when that is read; dropping this ends the statement.
#[derive(Debug)]
pub struct Rows {
    client: DbClient,
    columns: Arc<[Column]>,
    page: std::vec::IntoIter<proto::Row>,
    /// Where more follow; 0 after the last page.
    result: u32,
    deadline: Duration,
}

impl Rows {
    pub(super) fn new(client: DbClient, page: proto::Page, deadline: Duration) -> Self {
        let columns = page.columns.into_iter().map(Column::from).collect();
        Self { client, columns, page: page.rows.into_iter(), result: page.result, deadline }
    }

    /// The columns, also where there are no rows.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// See [the table](super#errors): what the statement fails with after its first rows.
    pub async fn next(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(row) = self.page.next() {
                let values = row.values.into_iter().map(Into::into).collect();
                return Ok(Some(Row { columns: Arc::clone(&self.columns), values }));
            }
            if self.result == 0 {
                return Ok(None);
            }
            // A result whose page is lost cannot be gone on with.
            let result = std::mem::take(&mut self.result);
            let more = proto::MoreRequest { result, deadline_ms: millis(self.deadline) };
            let page = self.client.more(more).await.map_err(|error| error.context("the next rows"))?;
            (self.page, self.result) = (page.rows.into_iter(), page.result);
        }
    }

    /// All rows that are left. For results that are known to be small.
    ///
    /// # Errors
    /// As [`Rows::next`].
    pub async fn all(mut self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        while let Some(row) = self.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// The first row, where there is one; the rest is dropped.
    ///
    /// # Errors
    /// As [`Rows::next`].
    pub async fn first(mut self) -> Result<Option<Row>> {
        self.next().await
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if self.result != 0 {
            self.client.0.notify("Db.CloseResult", &proto::ResultRequest { result: self.result });
        }
    }
}

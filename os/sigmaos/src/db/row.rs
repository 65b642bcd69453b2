//! A row, and its values by name.

use super::proto;
use super::value::{FromValue, Value};
use crate::{Code, Error, Result};
use std::sync::Arc;

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// As the engine calls it: `INT8`, `VARCHAR`.
    pub kind: String,
}

impl From<proto::Column> for Column {
    fn from(column: proto::Column) -> Self {
        Self { name: column.name, kind: column.r#type }
    }
}

/// A row of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub(super) columns: Arc<[Column]>,
    pub(super) values: Vec<Value>,
}

impl Row {
    /// The value of a column: the first of that name.
    ///
    /// # Errors
    /// `NotFound` where there is no such column, `Invalid` where its value is something else; both name the column.
    pub fn get<T: FromValue>(&self, name: &str) -> Result<T> {
        let place = self.columns.iter().position(|column| column.name == name);
        let missing = || {
            let names: Vec<_> = self.columns.iter().map(|column| column.name.as_str()).collect();
            Error::new(Code::NotFound, format!("there is no column {name}, but {}", names.join(", ")))
        };
        self.at(place.ok_or_else(missing)?)
    }

    /// The value of a column by its place, the first of which is 0.
    ///
    /// # Errors
    /// As [`Row::get`].
    pub fn at<T: FromValue>(&self, place: usize) -> Result<T> {
        let missing = || {
            Error::new(Code::NotFound, format!("a row of {} columns has none at {place}", self.values.len()))
        };
        let value = self.values.get(place).ok_or_else(missing)?;
        T::from_value(value).map_err(|error| match self.columns.get(place) {
            Some(column) => error.context(format!("column {}", column.name)),
            None => error,
        })
    }

    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_row_does_not_have_is_named() {
        let column = |name: &str| Column { name: name.into(), kind: "INT8".into() };
        let row = Row {
            columns: vec![column("id"), column("n")].into(),
            values: vec![Value::Integer(7), Value::Null],
        };
        assert_eq!(row.get::<i64>("id").unwrap(), 7);
        assert_eq!(row.at::<Option<i64>>(1).unwrap(), None);
        let message = |error: Result<i64>| error.unwrap_err().message;
        assert_eq!(message(row.get("x")), "there is no column x, but id, n");
        assert_eq!(message(row.get("n")), "column n: NULL is not a 64-bit integer: ask for an Option");
        assert_eq!(message(row.at(2)), "a row of 2 columns has none at 2");
    }
}

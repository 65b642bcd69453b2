//! Values as they go to a database and come from it.

use super::proto;
use crate::{Code, Error, Result};
use bytes::Bytes;
use proto::value::Value as Wire;

/// A value of a database.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(String),
    Bytes(Bytes),
}

impl From<Value> for proto::Value {
    fn from(value: Value) -> Self {
        let value = match value {
            Value::Null => None,
            Value::Boolean(value) => Some(Wire::Boolean(value)),
            Value::Integer(value) => Some(Wire::Integer(value)),
            Value::Real(value) => Some(Wire::Real(value)),
            Value::Text(value) => Some(Wire::Text(value)),
            Value::Bytes(value) => Some(Wire::Bytes(value)),
        };
        Self { value }
    }
}

impl From<proto::Value> for Value {
    fn from(value: proto::Value) -> Self {
        match value.value {
            None => Self::Null,
            Some(Wire::Boolean(value)) => Self::Boolean(value),
            Some(Wire::Integer(value)) => Self::Integer(value),
            Some(Wire::Real(value)) => Self::Real(value),
            Some(Wire::Text(value)) => Self::Text(value),
            Some(Wire::Bytes(value)) => Self::Bytes(value),
        }
    }
}

macro_rules! from {
    ($($kind:ident from $($rust:ty),+;)+) => {
        $($(impl From<$rust> for Value {
            fn from(value: $rust) -> Self {
                Self::$kind(value.into())
            }
        })+)+
    };
}

from! {
    Boolean from bool;
    Integer from i8, i16, i32, i64, u8, u16, u32;
    Real from f32, f64;
    Text from &str, String;
    Bytes from Bytes, Vec<u8>, &'static [u8];
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Real(_) => "a real number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }
}

/// What a value of a database can become.
pub trait FromValue: Sized {
    /// # Errors
    /// `Invalid`, which says what the value is instead.
    fn from_value(value: &Value) -> Result<Self>;
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Result<Self> {
        Ok(value.clone())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// MariaDB has no booleans, and SQLite keeps integers for them.
impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Boolean(value) => Ok(*value),
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            other => Err(is_not("a boolean", other)),
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Integer(value) => Ok(*value),
            Value::Boolean(value) => Ok(i64::from(*value)),
            // A sum of integers is a decimal to PostgreSQL and MariaDB.
            Value::Text(text) => text.parse().map_err(|_| is_not("a 64-bit integer", value)),
            other => Err(is_not("a 64-bit integer", other)),
        }
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Text(text) => text.parse().map_err(|_| is_not("an unsigned 64-bit integer", value)),
            other => {
                i64::from_value(other)?.try_into().map_err(|_| is_not("an unsigned 64-bit integer", other))
            }
        }
    }
}

macro_rules! narrow_integers {
    ($($rust:ty, $name:literal;)+) => {
        $(impl FromValue for $rust {
            fn from_value(value: &Value) -> Result<Self> {
                i64::from_value(value)?.try_into().map_err(|_| is_not($name, value))
            }
        })+
    };
}

narrow_integers! {
    i32, "a 32-bit integer";
    u32, "an unsigned 32-bit integer";
    u16, "an unsigned 16-bit integer";
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Real(value) => Ok(*value),
            // An integer of up to 53 bits is a real number exactly.
            Value::Integer(integer) if integer.unsigned_abs() <= 1 << 53 => Ok(*integer as f64),
            Value::Text(text) => text.parse().map_err(|_| is_not("a real number", value)),
            other => Err(is_not("a real number", other)),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            other => Err(is_not("text", other)),
        }
    }
}

impl FromValue for Bytes {
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Bytes(bytes) => Ok(bytes.clone()),
            other => Err(is_not("bytes", other)),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Result<Self> {
        Bytes::from_value(value).map(Into::into)
    }
}

fn is_not(wanted: &str, value: &Value) -> Error {
    let text = match value {
        Value::Integer(integer) => format!("{integer} is not {wanted}"),
        Value::Text(text) if text.len() <= 40 => format!("the text {text:?} is not {wanted}"),
        Value::Null => format!("NULL is not {wanted}: ask for an Option"),
        other => format!("it is {}, not {wanted}", other.kind()),
    };
    Error::new(Code::Invalid, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_the_wire() {
        let values = [
            Value::Null,
            Value::from(true),
            Value::from(-7_i64),
            Value::from(0.5),
            Value::from("é"),
            Value::from(vec![0_u8, 255]),
        ];
        for value in values {
            assert_eq!(Value::from(proto::Value::from(value.clone())), value);
        }
    }

    #[test]
    fn a_value_becomes_what_holds_it_exactly() {
        assert_eq!(i64::from_value(&Value::from("9223372036854775807")).unwrap(), i64::MAX);
        assert_eq!(u64::from_value(&Value::from("18446744073709551615")).unwrap(), u64::MAX);
        assert_eq!(f64::from_value(&Value::from("12.50")).unwrap(), 12.5);
        assert!(bool::from_value(&Value::Integer(1)).unwrap());
        assert_eq!(Option::<i64>::from_value(&Value::Null).unwrap(), None);
        let refused = |error: Result<i32>, text: &str| {
            let error = error.unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (Code::Invalid, text));
        };
        refused(i32::from_value(&Value::Null), "NULL is not a 64-bit integer: ask for an Option");
        refused(i32::from_value(&Value::Integer(1 << 40)), "1099511627776 is not a 32-bit integer");
        refused(i32::from_value(&Value::from("x")), "the text \"x\" is not a 64-bit integer");
        assert!(f64::from_value(&Value::Integer(i64::MAX)).is_err(), "it would not be the same number");
        assert!(bool::from_value(&Value::Integer(2)).is_err());
    }
}

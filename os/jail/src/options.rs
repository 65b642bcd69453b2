//! The command line: `--uid-base N|none [--without LAYER[,LAYER]]`.

use crate::error::Error;
use sigma_abi::layer::Layer;

/// What sigmad asks this jail to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The first of two host uids (and gids) of this realm: the jail runs as it, its procs as the next one. `None`:
    /// everything runs as the caller's own uid.
    pub(crate) uid_base: Option<u32>,
    without: Vec<Layer>,
}

/// The uid of procs inside the user namespace where the realm has a range of its own.
const PROC_UID: u32 = 1;

impl Options {
    /// # Errors
    /// [`Error`] naming the argument.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut base = None;
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| Error::new(format!("{name} wants a value")))?;
            match name.as_str() {
                "--uid-base" => base = Some(parse_base(&value)?),
                "--without" => options.without = parse_layers(&value)?,
                _ => return Err(Error::new(format!("{name:?} is not an option of jail"))),
            }
        }
        options.uid_base =
            base.ok_or_else(|| Error::new("usage: jail --uid-base N|none [--without LAYER[,LAYER]]"))?;
        Ok(options)
    }

    /// Whether `layer` is to be set up.
    pub(crate) fn on(&self, layer: Layer) -> bool {
        !self.without.contains(&layer)
    }

    /// The uid and gid that procs change to, as the jail sees them; `None`: they keep the jail's.
    pub(crate) fn proc_uid(&self) -> Option<u32> {
        // A change of uid also drops capabilities, so that without this layer there is none.
        let base = self.uid_base.filter(|_| self.on(Layer::Capabilities))?;
        Some(if self.on(Layer::User) { PROC_UID } else { base + PROC_UID })
    }

    /// The layers that this jail sets up, by name. Control groups are sigmad's.
    pub(crate) fn layers(&self) -> Vec<String> {
        let mine = Layer::ALL.into_iter().filter(|layer| *layer != Layer::Cgroup && self.on(*layer));
        mine.map(|layer| layer.name().to_owned()).collect()
    }
}

fn parse_base(value: &str) -> Result<Option<u32>, Error> {
    if value == "none" {
        return Ok(None);
    }
    match value.parse::<u32>() {
        // Uid 0 would be root itself, and u32::MAX means "no uid".
        Ok(base) if (1..u32::MAX - PROC_UID).contains(&base) => Ok(Some(base)),
        _ => Err(Error::new(format!("--uid-base {value:?} is neither a uid above 0 nor none"))),
    }
}

fn parse_layers(value: &str) -> Result<Vec<Layer>, Error> {
    let names = value.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.parse().map_err(|error| Error::new(format!("--without: {error}")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(text.split_whitespace().map(str::to_owned)).map_err(|error| error.message)
    }

    #[test]
    fn the_command_line_is_checked() {
        assert_eq!(parse("--uid-base 70000").unwrap().proc_uid(), Some(1));
        assert_eq!(parse("--uid-base 70000 --without user").unwrap().proc_uid(), Some(70001));
        assert_eq!(parse("--uid-base none").unwrap().proc_uid(), None);
        let options = parse("--uid-base none --without net,seccomp").unwrap();
        assert!(!options.on(Layer::Net) && !options.on(Layer::Seccomp) && options.on(Layer::User));
        for wrong in
            ["", "--uid-base", "--uid-base 0", "--uid-base -1", "--uid-base 4294967295", "--uid-base x"]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse("--uid-base none --without roof").unwrap_err().contains("roof"));
        assert!(parse("--uid-base none --with net").unwrap_err().contains("--with"));
    }
}

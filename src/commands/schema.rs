//! `kinestream schema`: the JSON schema of configuration files.

use anyhow::Result;
use kinestream_runtime::schema::configuration_schema;
use kinestream_terminal::say;

pub(crate) fn run() -> Result<()> {
    say!("{}", serde_json::to_string_pretty(&configuration_schema())?);
    Ok(())
}

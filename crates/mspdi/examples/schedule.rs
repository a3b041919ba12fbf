//! Prints the schedule of a Microsoft Project XML file as JSON.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: schedule FILE.xml");
        return ExitCode::FAILURE;
    };
    let result = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    match result.and_then(|text| pmo_mspdi::schedule_json(&text).map_err(|error| error.to_string())) {
        Ok(json) => {
            println!("{json}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {path}: {message}");
            ExitCode::FAILURE
        }
    }
}

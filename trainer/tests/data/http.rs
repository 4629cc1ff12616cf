//! Shards from a server that misbehaves.

#[allow(dead_code, reason = "the server plays a model hub elsewhere")]
#[path = "../../../tests/hub/server.rs"]
mod server;

use std::time::Duration;

use super::world::*;
use polyglance_trainer::data::{HttpOptions, examples};
use server::{Reply, Request, Server, ranged};

const PATH: &str = "/data/00000.tar?signature=secret";

/// Silence is told from slowness with room for a busy machine.
fn patient() -> HttpOptions {
    HttpOptions { stall_timeout: Duration::from_secs(2), attempts: 4, backoff: Duration::from_millis(1) }
}

/// Examples of a shard of 40, or the error, and the range starts that the server saw.
fn read(handler: impl Fn(&Request, usize, &[u8]) -> Reply + Send + Sync + 'static) -> (Result<usize, String>, Vec<Option<usize>>) {
    let bytes = shard(0..40);
    let server = Server::start(move |request, earlier| handler(request, earlier, &bytes));
    let url = format!("http://127.0.0.1:{}{PATH}", server.port);
    let read = examples(&url, &patient()).unwrap().try_fold(0, |count, example| {
        assert!(example.map_err(|error| error.to_string())?.is_ok());
        Ok(count + 1)
    });
    (read, server.downloads(PATH))
}

/// Announces everything from the start of the range, sends `sent` bytes of it, and hangs up.
fn cut(request: &Request, bytes: &[u8], sent: usize) -> Reply {
    match ranged(request, bytes) {
        Reply::Full(status, headers, body) => {
            let reply = Reply::Full(status, headers, body[..sent.min(body.len())].to_vec());
            reply.with("Content-Length", &body.len())
        }
        stall => stall,
    }
}

#[test]
fn an_honest_server_is_asked_once() {
    let (count, requests) = read(|request, _, bytes| ranged(request, bytes));
    assert_eq!((count, requests), (Ok(40), vec![None]));
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let (count, requests) = read(|request, earlier, bytes| if earlier < 3 { cut(request, bytes, 5000) } else { ranged(request, bytes) });
    assert_eq!((count, requests), (Ok(40), vec![None, Some(5000), Some(10_000), Some(15_000)]));
}

#[test]
fn a_server_without_ranges_is_read_again_from_the_start() {
    let (count, requests) = read(|request, earlier, bytes| match earlier {
        0 => cut(request, bytes, 9_999),
        _ => Reply::Full(200, vec![], bytes.to_vec()),
    });
    assert_eq!((count, requests), (Ok(40), vec![None, Some(9_999)]));
}

#[test]
fn errors_and_silence_of_a_server_pass() {
    let (count, requests) = read(|request, earlier, bytes| match earlier {
        0 => Reply::status(503),
        1 => Reply::Stall(bytes.len(), bytes[..700].to_vec()),
        _ => ranged(request, bytes),
    });
    assert_eq!((count, requests), (Ok(40), vec![None, None, Some(700)]));
}

#[test]
fn a_file_that_changes_is_an_error() {
    let (result, _) = read(|request, earlier, bytes| match earlier {
        0 => cut(request, bytes, 5_000).with("ETag", &"\"one\""),
        _ => ranged(request, bytes).with("ETag", &"\"two\""),
    });
    assert!(result.unwrap_err().contains("changed"));
    let (result, _) = read(|request, earlier, bytes| match earlier {
        0 => cut(request, bytes, 5_000),
        _ => ranged(request, &bytes[..bytes.len() - 512]),
    });
    assert!(result.unwrap_err().contains("changed"));
}

#[test]
fn a_server_that_never_recovers_is_given_up_and_named() {
    let (result, requests) = read(|_, _, _| Reply::status(500));
    let error = result.unwrap_err();
    assert!(error.contains("00000.tar") && error.contains("500") && !error.contains("secret"), "{error}");
    assert_eq!(requests.len(), 4);
    let (result, requests) = read(|_, _, _| Reply::status(404));
    assert!(result.unwrap_err().contains("404"));
    assert_eq!(requests.len(), 1);
}

#[test]
fn wrong_ranges_and_endless_files_are_errors() {
    for range in ["bytes 6000-9999/99999", "bytes 0-", "lines 1-2/3"] {
        let (result, _) = read(move |request, earlier, bytes| match earlier {
            0 => cut(request, bytes, 5_000),
            _ => Reply::Full(206, vec![("Content-Range".into(), range.into())], bytes[5_000..].to_vec()),
        });
        assert!(result.is_err(), "{range}");
    }
    let (result, _) =
        read(|_, _, bytes| Reply::Full(200, vec![("Content-Length".into(), ((4_u64 << 30) + 1).to_string())], bytes.to_vec()));
    assert!(result.unwrap_err().contains("split it"));
}

#[test]
fn batches_from_a_server_resume_in_the_middle_of_a_shard() {
    let bytes = shard(0..64);
    let server = Server::start(move |request, _| ranged(request, &bytes));
    let url = format!("http://127.0.0.1:{}/{{a,b}}.tar", server.port);
    let options = options(&[&url]);
    let whole = take(&mut open(&options), 40);
    let (config, tokenizer) = model("naflex");
    let stop = 13;
    let resumed = polyglance_trainer::data::Loader::open(&options, &config.vision, tokenizer, Some(&whole[stop - 1].position));
    assert_same(&take(&mut resumed.unwrap(), 40 - stop), &whole[stop..]);
    let starts = server.requests().iter().filter_map(Request::range_start).collect::<Vec<_>>();
    assert!(starts.first().is_some_and(|&start| start > 0), "{starts:?}");
}

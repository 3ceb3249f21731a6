//! Connections: frames in, answers out, one request of a connection after the other as Kafka does.

pub mod dispatch;
pub mod reply;

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::{Context, Node};
use crate::hooks::{Fate, Hooks};
use dispatch::Request;

/// Largest request (Kafka's `socket.request.max.bytes`).
const MAX_FRAME: usize = 100 << 20;
/// Requests up to this size are read without asking for room.
const SMALL_FRAME: usize = 64 << 10;
/// Room for larger requests, over all connections, in kilobytes.
const ROOM_KIB: usize = 32 << 10;

/// What every connection shares.
#[derive(Debug)]
pub struct Shared {
    pub node: Node,
    pub hooks: Hooks,
    pub advertised: Option<(String, u16)>,
    room: Semaphore,
}

impl Shared {
    pub fn new(node: Node, hooks: Hooks, advertised: Option<(String, u16)>) -> Self {
        Self {
            node,
            hooks,
            advertised,
            room: Semaphore::new(ROOM_KIB),
        }
    }
}

/// Serves a connection until it ends.
///
/// # Errors
/// When the client goes away in the middle of a frame or sends what is no request.
pub async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    let mut context = Context {
        version: 0,
        client_id: String::new(),
        client_host: format!("/{}", stream.peer_addr()?.ip()),
        advertised: shared
            .advertised
            .clone()
            .unwrap_or_else(|| (local.ip().to_string(), local.port())),
    };
    let mut input = BytesMut::new();
    let mut output = BytesMut::new();
    while let Some((frame, _room)) = next_frame(&mut stream, &mut input, &shared.room).await? {
        let request = Request::parse(frame)?;
        context.version = request.version;
        context.client_id.clone_from(&request.client_id);
        let reply = dispatch::answer(&shared.node, &context, &request).await?;
        if shared.hooks.before_answer(request.api).await == Fate::Drop {
            return Ok(());
        }
        if let Some(reply) = reply {
            reply
                .write(&request.answer_header()?, &mut output, &mut stream)
                .await?;
        }
    }
    Ok(())
}

/// The next request, and its share of the room for large ones; `None` when the client is done.
async fn next_frame<'a>(
    stream: &mut TcpStream,
    input: &mut BytesMut,
    room: &'a Semaphore,
) -> anyhow::Result<Option<(Bytes, Option<SemaphorePermit<'a>>)>> {
    if input.is_empty() {
        // Lets go of the memory of a large request.
        *input = BytesMut::new();
    }
    if !fill(stream, input, 4).await? {
        return Ok(None);
    }
    let length = usize::try_from(input.get_i32()).unwrap_or(usize::MAX);
    anyhow::ensure!(
        length <= MAX_FRAME,
        "a request of {length} bytes, {MAX_FRAME} are allowed"
    );
    let permit = if length > SMALL_FRAME {
        let kib = u32::try_from(length.div_ceil(1024).min(ROOM_KIB))?;
        Some(room.acquire_many(kib).await?)
    } else {
        None
    };
    anyhow::ensure!(
        fill(stream, input, length).await? || length == 0,
        "the connection ended within a request"
    );
    Ok(Some((input.split_to(length).freeze(), permit)))
}

/// Reads until `count` bytes are there; false when the connection ended before.
async fn fill(stream: &mut TcpStream, input: &mut BytesMut, count: usize) -> io::Result<bool> {
    while input.len() < count {
        input.reserve((count - input.len()).max(4096));
        if stream.read_buf(input).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

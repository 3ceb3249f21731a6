//! Connections: frames in, answers out, one request of a connection after the other as Kafka does.

pub mod check;
pub mod dispatch;
mod frames;
mod lengths;
mod room;

use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::{Context, Node};
use crate::hooks::{Fate, Hooks};
use dispatch::Request;
use frames::{Frame, Frames};
use room::Room;

pub use frames::Times;

/// What every connection shares.
#[derive(Debug)]
pub struct Shared {
    pub node: Node,
    pub hooks: Hooks,
    pub advertised: Option<(String, u16)>,
    times: Times,
    room: Room,
}

impl Shared {
    pub fn new(node: Node, hooks: Hooks, advertised: Option<(String, u16)>, times: Times) -> Self {
        Self {
            node,
            hooks,
            advertised,
            times,
            room: Room::default(),
        }
    }
}

/// Serves a connection until it ends.
///
/// # Errors
/// When the client goes away in the middle of a frame, is too slow, or sends what is no request.
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
    let (from, mut to) = stream.split();
    let mut frames = Frames::new(from, shared.times);
    let mut output = BytesMut::new();
    while let Some(Frame { bytes, held }) = frames.next(&shared.room).await? {
        let request = Request::parse(bytes)?;
        context.version = request.version;
        context.client_id.clone_from(&request.client_id);
        let reply = dispatch::answer(&shared.node, &context, &request).await?;
        if shared.hooks.before_answer(request.api).await == Fate::Drop {
            return Ok(());
        }
        let header = request.answer_header()?;
        // The request has been carried out: its memory is not for a client to keep that doesn't take the answer.
        drop((request, held));
        if let Some(reply) = reply {
            let written = reply.write(&header, &mut output, &mut to);
            timeout(shared.times.idle, written).await??;
        }
    }
    Ok(())
}

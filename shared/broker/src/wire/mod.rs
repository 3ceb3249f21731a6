//! Connections: frames in, replies out. A connection's requests are handled one after the other, as in Kafka.

mod budget;
pub(crate) mod check;
pub(crate) mod dispatch;
mod frames;
mod lengths;

use crate::{
    api::{Context, Node},
    hooks::{Fate, Hooks},
};
use budget::Budget;
use bytes::BytesMut;
use dispatch::Request;
use frames::{Frame, Frames};
use std::sync::Arc;
use tokio::{net::TcpStream, time::timeout};

pub(crate) use frames::Times;

/// State that all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub node: Node,
    pub hooks: Hooks,
    pub advertised: Option<(String, u16)>,
    times: Times,
    budget: Budget,
}

impl Shared {
    pub(crate) fn new(
        node: Node,
        hooks: Hooks,
        advertised: Option<(String, u16)>,
        times: Times,
    ) -> Self {
        Self {
            node,
            hooks,
            advertised,
            times,
            budget: Budget::default(),
        }
    }
}

/// Serves a connection until it ends.
///
/// # Errors
/// If the client closes the connection within a frame, is too slow, or sends no valid request.
pub(crate) async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> anyhow::Result<()> {
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
    while let Some(Frame { bytes, held }) = frames.next(&shared.budget).await? {
        let request = Request::parse(bytes)?;
        context.version = request.version;
        context.client_id.clone_from(&request.client_id);
        let reply = dispatch::answer(&shared.node, &context, &request).await?;
        if shared.hooks.before_answer(request.api).await == Fate::Drop {
            return Ok(());
        }
        let header = request.answer_header()?;
        // The request is done. Its memory is freed before the reply, which a slow client may take long to read.
        drop((request, held));
        if let Some(reply) = reply {
            let written = reply.write(&header, &mut output, &mut to);
            timeout(shared.times.idle, written).await??;
        }
    }
    Ok(())
}

//! gRPC through weir: tonic on both sides, plain HTTP/2 to the upstream, plain and TLS to the client.
//!
//! The service is written by hand, as `tonic-build` would have written it, so that no protobuf compiler is needed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{
    ClientStreamingService, Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::proxy;

/// `message Text { string text = 1; uint32 count = 2; }`
#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint32, tag = "2")]
    count: u32,
}

type TextStream = Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;
type Answer<T> = BoxFuture<Response<T>, Status>;

/// `service Echo`, in package `weir.test`.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "weir.test.Echo";
}

/// `rpc Once(Text) returns (Text)`: the text again, with metadata there and back; fails where asked to.
struct Once;

impl UnaryService<Text> for Once {
    type Response = Text;
    type Future = Answer<Text>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        Box::pin(async move {
            let sent = request.metadata().get("x-sent").cloned();
            let text = request.into_inner();
            if text.text == "fail" {
                let mut status =
                    Status::with_details(Code::FailedPrecondition, "not like this: 50 % é", "why"[..].into());
                status.metadata_mut().insert("x-trailer", "there".parse().expect("a value"));
                return Err(status);
            }
            let mut response = Response::new(text);
            if let Some(sent) = sent {
                response.metadata_mut().insert("x-back", sent);
            }
            Ok(response)
        })
    }
}

/// `rpc Many(Text) returns (stream Text)`: the text `count` times; fails after them where asked to.
struct Many;

impl ServerStreamingService<Text> for Many {
    type Response = Text;
    type ResponseStream = TextStream;
    type Future = Answer<TextStream>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let Text { text, count } = request.into_inner();
        Box::pin(async move {
            let end = (text == "fail").then(|| Err(Status::aborted("in the middle")));
            let all = (0..count).map(move |count| Ok(Text { text: text.clone(), count })).chain(end);
            Ok(Response::new(Box::pin(tokio_stream::iter(all)) as TextStream))
        })
    }
}

/// `rpc Sum(stream Text) returns (Text)`: how many, and how long all together.
struct Sum;

impl ClientStreamingService<Text> for Sum {
    type Response = Text;
    type Future = Answer<Text>;

    fn call(&mut self, request: Request<Streaming<Text>>) -> Self::Future {
        let mut stream = request.into_inner();
        Box::pin(async move {
            let (mut length, mut count) = (0, 0);
            while let Some(text) = stream.next().await {
                length += text?.text.len();
                count += 1;
            }
            Ok(Response::new(Text { text: length.to_string(), count }))
        })
    }
}

/// `rpc Chat(stream Text) returns (stream Text)`: each one as soon as it comes.
struct Chat;

impl StreamingService<Text> for Chat {
    type Response = Text;
    type ResponseStream = Streaming<Text>;
    type Future = Answer<Streaming<Text>>;

    fn call(&mut self, request: Request<Streaming<Text>>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(request.into_inner())) })
    }
}

impl Service<http::Request<tonic::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async move {
            let limit = Some(16 << 20);
            let mut grpc = Grpc::new(ProstCodec::default()).apply_max_message_size_config(limit, limit);
            Ok(match request.uri().path() {
                "/weir.test.Echo/Once" => grpc.unary(Once, request).await,
                "/weir.test.Echo/Many" => grpc.server_streaming(Many, request).await,
                "/weir.test.Echo/Sum" => grpc.client_streaming(Sum, request).await,
                "/weir.test.Echo/Chat" => grpc.streaming(Chat, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// A client of the service.
struct Client(tonic::client::Grpc<Channel>);

impl Client {
    fn new(channel: Channel) -> Self {
        Client(tonic::client::Grpc::new(channel).max_decoding_message_size(16 << 20))
    }

    async fn ready(&mut self) {
        self.0.ready().await.expect("a connection");
    }

    async fn once(&mut self, request: Request<Text>) -> Result<Response<Text>, Status> {
        self.ready().await;
        self.0.unary(request, path("Once"), ProstCodec::default()).await
    }

    async fn many(&mut self, text: Text) -> Result<Response<Streaming<Text>>, Status> {
        self.ready().await;
        self.0.server_streaming(Request::new(text), path("Many"), ProstCodec::default()).await
    }

    async fn sum(
        &mut self,
        texts: impl Stream<Item = Text> + Send + 'static,
    ) -> Result<Response<Text>, Status> {
        self.ready().await;
        self.0.client_streaming(Request::new(texts), path("Sum"), ProstCodec::default()).await
    }

    async fn chat(
        &mut self,
        texts: impl Stream<Item = Text> + Send + 'static,
    ) -> Result<Streaming<Text>, Status> {
        self.ready().await;
        let answer = self.0.streaming(Request::new(texts), path("Chat"), ProstCodec::default()).await;
        answer.map(Response::into_inner)
    }
}

fn path(method: &str) -> http::uri::PathAndQuery {
    format!("/weir.test.Echo/{method}").parse().expect("a path")
}

fn text(text: &str, count: u32) -> Text {
    Text { text: text.to_owned(), count }
}

async fn serve() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("127.0.0.1 can be bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(Server::builder().add_service(Echo).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tonic_through_weir() {
    let upstream = serve().await;
    let (weir, authority) = proxy(upstream, "protocol = \"http2\"");
    let plain = Endpoint::from_shared(weir.http("web")).expect("a URL");
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("localhost");
    let secure = format!("https://localhost:{}", weir.address("tls").port());
    let secure = Endpoint::from_shared(secure).expect("a URL").tls_config(tls).expect("a configuration");
    for endpoint in [plain, secure] {
        let channel = endpoint.connect().await.expect("a connection");
        tokio::time::timeout(weir_tests::PATIENCE, converse(Client::new(channel)))
            .await
            .expect("all calls end");
    }
}

async fn converse(mut client: Client) {
    let mut request = Request::new(text("hello", 1));
    request.metadata_mut().insert("x-sent", "by the client".parse().expect("a value"));
    let response = client.once(request).await.expect("an answer");
    assert_eq!(response.metadata().get("x-back").expect("metadata"), "by the client");
    assert_eq!(response.into_inner(), text("hello", 1));

    let large = "x".repeat(5 << 20);
    let response = client.once(Request::new(text(&large, 2))).await.expect("an answer");
    assert!(response.into_inner() == text(&large, 2), "5 MiB come back");

    // A status before any message, with everything that a status may carry.
    let status = client.once(Request::new(text("fail", 0))).await.expect_err("it fails");
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "not like this: 50 % é"));
    assert_eq!(status.details(), b"why");
    assert_eq!(status.metadata().get("x-trailer").expect("metadata"), "there");

    let all = client.many(text("again", 1000)).await.expect("an answer").into_inner();
    let counts: Vec<u32> = all.map(|item| item.expect("a message").count).collect().await;
    assert_eq!(counts, (0..1000).collect::<Vec<_>>());

    // A status after messages: in the trailers.
    let mut some = client.many(text("fail", 3)).await.expect("an answer").into_inner();
    for count in 0..3 {
        assert_eq!(some.next().await.expect("an item").expect("a message").count, count);
    }
    let status = some.next().await.expect("an end").expect_err("it fails");
    assert_eq!((status.code(), status.message()), (Code::Aborted, "in the middle"));

    let words = tokio_stream::iter((0..500).map(|n| text("12345", n)));
    assert_eq!(client.sum(words).await.expect("an answer").into_inner(), text("2500", 500));

    // Both ways at once: each message is sent when the one before it has come back.
    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = Box::pin(async_stream(said));
    say.send(text("0", 0)).await.expect("it listens");
    let mut heard = client.chat(said).await.expect("an answer");
    for n in 0..100 {
        assert_eq!(heard.next().await.expect("an item").expect("a message").count, n);
        say.send(text("next", n + 1)).await.expect("it listens");
    }
    drop(say);
    assert_eq!(heard.next().await.expect("the last").expect("a message").count, 100);
    assert!(heard.next().await.is_none());
}

fn async_stream(mut queue: tokio::sync::mpsc::Receiver<Text>) -> impl Stream<Item = Text> {
    struct Queue<F>(F);
    impl<F: FnMut(&mut Context<'_>) -> Poll<Option<Text>> + Unpin> Stream for Queue<F> {
        type Item = Text;
        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Text>> {
            (self.0)(cx)
        }
    }
    Queue(move |cx: &mut Context<'_>| queue.poll_recv(cx))
}

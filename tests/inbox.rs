//! Departments' queues: taken after they are committed, poison set aside, and what goes wrong with them.

use huiliu::engine::{RunOptions, RunReport};
use huiliu::outlet::rabbitmq::{Address, Link};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::support::broker::{PATIENCE, Vhost};
use super::support::{CODES, Small, line, secret};

pub struct Queue {
    vhost: Vhost,
    link: Link,
}

impl Queue {
    pub async fn new() -> Self {
        let vhost = Vhost::new().await;
        let link = Link::open(&Address::parse(&vhost.url(), None).unwrap(), PATIENCE).await.unwrap();
        let channel = link.channel().await.unwrap();
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare("gs.qy".into(), durable, FieldTable::default()).await.unwrap();
        Self { vhost, link }
    }

    pub async fn publish(&self, bodies: &[&str]) {
        let channel = self.link.channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        for body in bodies {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let sent =
                channel.basic_publish("".into(), "gs.qy".into(), options, body.as_bytes(), BasicProperties::default());
            sent.await.unwrap().await.unwrap();
        }
    }

    async fn waiting(&self) -> u32 {
        let channel = self.link.channel().await.unwrap();
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare("gs.qy".into(), passive, FieldTable::default()).await.unwrap().message_count()
    }

    pub fn connect(&self, small: &Small, queue: &str, password: &str) {
        let (server, vhost) = self
            .vhost
            .url()
            .replace("huiliu:huiliu@", "")
            .rsplit_once('/')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        let password = secret(password);
        let text = format!(
            "version: 1
department: 市场监督管理局
source: {{ kind: amqp, url: \"{server}/{vhost}\", user: huiliu, password: {password} }}
datasets:
  qy:
    queue: {queue}
    format: {{ kind: ndjson }}
    key: [代码]
    updated: 更新
    extract: log
    columns: {{ 代码: text, 名称: text, 注册号: text, 资本: text, 状态: text, 更新: text }}
"
        );
        small.write("connectors/gs.yaml", text);
    }
}

fn message(i: usize, name: &str, day: u32) -> String {
    format!(
        "{{\"代码\":\"{}\",\"名称\":\"{name}\",\"资本\":\"1\",\"状态\":\"在营\",\"更新\":\"2026-10-0{day} 00:00:00\"}}",
        CODES[i]
    )
}

async fn failure(small: &Small) -> String {
    match small.engine().await.run("qy", &RunOptions::default()).await {
        Err(error) => error.to_string(),
        Ok(RunReport { why, status, .. }) => format!("{status}: {}", why.unwrap_or_default()),
    }
}

#[tokio::test]
async fn messages_are_taken_once_and_poison_goes_to_quarantine() {
    let (queue, small) = (Queue::new().await, Small::new());
    queue.connect(&small, "gs.qy", "huiliu");
    assert!(small.run("qy").await.files.is_empty(), "an empty queue is nothing to take");
    let two = format!("{}\n{}\n", message(1, "企业1", 1), message(2, "企业2", 1));
    queue.publish(&[&message(0, "企业0", 1), &two, "\u{0}not json", &message(0, "企业0新", 2)]).await;
    let report = small.run("qy").await;
    assert_eq!(line(&report), "succeeded 5/0/0/3/0/0/1/0", "{report:?}");
    assert_eq!(report.registers[0].counts.undecodable, 1, "{report:?}");
    assert_eq!(queue.waiting().await, 0, "all are acknowledged, poison too");
    assert!(small.run("qy").await.files.is_empty());

    // An older message that comes late changes nothing.
    queue.publish(&[&message(0, "企业0旧", 1)]).await;
    assert_eq!(line(&small.run("qy").await), "succeeded 1/0/0/0/0/0/1/0");
}

#[tokio::test]
async fn what_was_not_settled_comes_again_and_changes_nothing() {
    let (queue, small) = (Queue::new().await, Small::new());
    queue.connect(&small, "gs.qy", "huiliu");
    queue.publish(&[&message(0, "企业0", 1), &message(1, "企业1", 1)]).await;
    // Read and committed, and then the process is gone: nothing was acknowledged.
    {
        let engine = small.engine().await;
        let workspace = engine.workspace().clone();
        let connector = &workspace.connectors["gs"];
        let mut source = huiliu::source::open(&workspace, connector, &connector.datasets["qy"]).unwrap();
        let item = source.list(None).await.unwrap().items.remove(0);
        let mut decoder = source.open(&item, None).await.unwrap();
        let rows =
            tokio::task::spawn_blocking(move || decoder.next(100).unwrap().unwrap().rows.num_rows()).await.unwrap();
        assert_eq!(rows, 2);
    }
    for _ in 0..50 {
        if queue.waiting().await == 2 {
            break;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the broker gives back what a gone process held, in its own time"
        )]
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(queue.waiting().await, 2, "they went back");
    assert_eq!(line(&small.run("qy").await), "succeeded 2/0/0/2/0/0/0/0");
    assert_eq!(queue.waiting().await, 0);
}

#[tokio::test]
async fn a_queue_that_is_not_there_or_not_ours_has_a_code() {
    let (queue, small) = (Queue::new().await, Small::new());
    queue.connect(&small, "gs.no", "huiliu");
    assert!(failure(&small).await.contains("HL0371"));
    queue.connect(&small, "gs.qy", "wrong");
    let why = failure(&small).await;
    assert!(why.contains("HL0371") && !why.contains("wrong"), "{why}");
}

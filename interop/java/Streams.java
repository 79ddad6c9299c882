import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

/**
 * A Kafka Streams application with exactly_once_v2: words counted in windows, and a stream joined with a table. It is
 * stopped half way, loses its local state, and must end with the same totals from its changelogs.
 */
public class Streams {
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    static String prefix;

    public static void main(String[] args) throws Exception {
        prefix = args[0];
        String protocol = args[1];
        String lines = prefix + "-lines", labels = prefix + "-labels", counts = prefix + "-counts", joined = prefix + "-joined";
        try (Admin a = Admin.create(Map.of("bootstrap.servers", BOOTSTRAP))) {
            List<NewTopic> topics = new ArrayList<>();
            for (String t : List.of(lines, labels, counts, joined)) topics.add(new NewTopic(t, 2, Short.parseShort(System.getenv().getOrDefault("REPLICAS", "1"))));
            a.createTopics(topics).all().get();
            Settle.settled();
        }
        // Of the last twenty minutes: what is older than its topic's retention may be deleted at any look of the broker's.
        long base = System.currentTimeMillis() - 20 * 60_000L;
        // Older than every word: of records of the same time Streams may take the word first, which then finds no label.
        try (KafkaProducer<String, String> p = producer()) {
            for (int i = 0; i < 20; i++) p.send(new ProducerRecord<>(labels, null, base - 1, "w" + i, "label-" + i));
        }
        Map<String, Long> want = new TreeMap<>();
        Path state = Files.createTempDirectory("streams-state");
        for (int half = 0; half < 2; half++) {
            feed(lines, base, half * 300, 300, want);
            KafkaStreams app = app(lines, labels, counts, joined, state.resolve("run-" + half).toString(), protocol);
            app.start();
            String what = "half " + (half + 1);
            Map<String, Long> expected = new TreeMap<>(want);
            int records = (half + 1) * 900;
            await(what + " counts", expected, () -> latest(counts));
            await(what + " joined records", records, () -> read(joined).size());
            if (!app.close(Duration.ofSeconds(30))) throw new IllegalStateException("the application did not close within 30 s");
        }
        for (ConsumerRecord<String, String> r : read(joined))
            if (!r.value().equals(r.key() + "=label-" + r.key().substring(1))) throw new IllegalStateException("joined " + r.key() + " to " + r.value());
        System.out.println("streams ok: " + want.size() + " windowed words, 1800 joined records");
        System.exit(0);
    }

    static void feed(String topic, long base, int from, int n, Map<String, Long> want) throws Exception {
        try (KafkaProducer<String, String> p = producer()) {
            for (int i = from; i < from + n; i++) {
                long ts = base + i * 1000L;
                String line = "w" + i % 20 + " w" + i % 7 + " w" + i % 3;
                p.send(new ProducerRecord<>(topic, i % 2, ts, "" + i, line));
                for (String w : line.split(" ")) want.merge(w + "@" + (ts - ts % 60_000), 1L, Long::sum);
            }
        }
    }

    static KafkaStreams app(String lines, String labels, String counts, String joined, String state, String protocol) {
        StreamsBuilder b = new StreamsBuilder();
        KStream<String, String> words = b.stream(lines, Consumed.with(Serdes.String(), Serdes.String()))
            .flatMap((k, v) -> {
                List<KeyValue<String, String>> out = new ArrayList<>();
                for (String w : v.split(" ")) out.add(KeyValue.pair(w, w));
                return out;
            });
        words.groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofHours(24)))
            .count()
            .toStream((k, v) -> k.key() + "@" + k.window().start())
            .mapValues(v -> "" + v)
            .to(counts, Produced.with(Serdes.String(), Serdes.String()));
        words.repartition(Repartitioned.with(Serdes.String(), Serdes.String()).withNumberOfPartitions(2).withName("by-word"))
            .join(b.table(labels, Consumed.with(Serdes.String(), Serdes.String())), (w, label) -> w + "=" + label)
            .to(joined, Produced.with(Serdes.String(), Serdes.String()));
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, prefix + "-app");
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, BOOTSTRAP);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.STATE_DIR_CONFIG, state);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, "2");
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, "1");
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        p.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "6000");
        if (!protocol.equals("classic")) {
            p.put("group.protocol", protocol);
            p.remove(StreamsConfig.consumerPrefix("session.timeout.ms"));
        }
        KafkaStreams s = new KafkaStreams(b.build(), p);
        s.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            System.exit(3);
            return null;
        });
        return s;
    }

    interface Probe { Object get() throws Exception; }

    static void await(String what, Object want, Probe probe) throws Exception {
        long end = System.nanoTime() + 90_000_000_000L;
        Object got = null;
        while (System.nanoTime() < end) {
            got = probe.get();
            if (want.equals(got)) return;
            if (got instanceof Integer && (Integer) got > (Integer) want) break;
            Thread.sleep(200);
        }
        throw new IllegalStateException(what + ": expected " + want + ", got " + got);
    }

    static Map<String, Long> latest(String topic) throws Exception {
        Map<String, Long> m = new TreeMap<>();
        for (ConsumerRecord<String, String> r : read(topic)) m.put(r.key(), Long.parseLong(r.value()));
        return m;
    }

    static KafkaProducer<String, String> producer() {
        return new KafkaProducer<>(Map.of("bootstrap.servers", BOOTSTRAP, "acks", "all"), new StringSerializer(), new StringSerializer());
    }

    /** Reads what is committed of a topic. */
    static List<ConsumerRecord<String, String>> read(String topic) {
        List<ConsumerRecord<String, String>> out = new ArrayList<>();
        try (KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", BOOTSTRAP, "enable.auto.commit", "false",
                "isolation.level", "read_committed"), new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> tps = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
            c.assign(tps);
            c.seekToBeginning(tps);
            Map<TopicPartition, Long> ends = c.endOffsets(tps);
            while (!tps.stream().allMatch(tp -> c.position(tp) >= ends.get(tp))) c.poll(Duration.ofMillis(200)).forEach(out::add);
        }
        return out;
    }
}

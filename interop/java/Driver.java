import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.function.*;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

/**
 * The Java client's driver: produce, consume, move and smoke, as interop/drivers.go describes them.
 * It compiles against kafka-clients 2.8 and newer; what only newer clients have is reached by configuration or
 * reflection, so that one source speaks for all of them.
 */
public class Driver {
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    static final int NODES = Integer.parseInt(System.getenv().getOrDefault("NODES", "1"));
    static final short REPLICAS = Short.parseShort(System.getenv().getOrDefault("REPLICAS", "1"));
    static final Map<String, String> args = new HashMap<>();
    static int major;

    public static void main(String[] argv) throws Exception {
        for (int i = 1; i < argv.length; i++) {
            int eq = argv[i].indexOf('=');
            args.put(argv[i].substring(0, eq), argv[i].substring(eq + 1));
        }
        String version = org.apache.kafka.common.utils.AppInfoParser.getVersion();
        major = Integer.parseInt(version.substring(0, version.indexOf('.')));
        switch (argv[0]) {
            case "produce": produce(); break;
            case "consume": consume(); break;
            case "move": move(); break;
            case "smoke": System.exit(new Driver().smoke() ? 0 : 1); break;
            default: throw new IllegalArgumentException("unknown command " + argv[0]);
        }
    }

    // ---- commands -------------------------------------------------------------------------------------------

    static void produce() throws Exception {
        List<String> lines = Files.readAllLines(Paths.get(args.get("file")), StandardCharsets.UTF_8);
        int from = Integer.parseInt(args.getOrDefault("from", "0"));
        int to = Math.min(lines.size(), from + Integer.parseInt(args.getOrDefault("count", "1000000000")));
        AtomicInteger acked = new AtomicInteger();
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (KafkaProducer<String, String> p = strings("compression.type", args.getOrDefault("codec", "none"), "linger.ms", "5")) {
            for (String line : lines.subList(from, to)) {
                int tab = line.indexOf('\t');
                p.send(new ProducerRecord<>(args.get("topic"), line.substring(0, tab), line.substring(tab + 1)), (m, e) -> {
                    if (e != null) failed.set(e); else acked.incrementAndGet();
                });
            }
        }
        if (failed.get() != null) throw failed.get();
        System.out.println("acked " + acked.get());
    }

    static void consume() throws Exception {
        AtomicBoolean end = new AtomicBoolean();
        Thread stdin = new Thread(() -> {
            try { while (System.in.read() >= 0) { } } catch (Exception e) { /* the same as its end */ }
            end.set(true);
        });
        stdin.setDaemon(true);
        stdin.start();
        try (KafkaConsumer<String, String> c = consumer(args.get("group"), args.getOrDefault("protocol", "classic"),
                "isolation.level", args.getOrDefault("isolation", "read_uncommitted"))) {
            c.subscribe(List.of(args.get("topic")));
            while (!end.get()) {
                StringBuilder out = new StringBuilder();
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(200)))
                    out.append(r.partition()).append('\t').append(r.offset()).append('\t').append(r.key()).append('\t').append(r.value()).append('\n');
                System.out.print(out);
                System.out.flush();
            }
            c.commitSync();
        }
    }

    static void move() throws Exception {
        int every = Integer.parseInt(args.get("abort")), expect = Integer.parseInt(args.get("expect"));
        int moved = 0, aborted = 0, txns = 0;
        try (KafkaProducer<String, String> p = strings("transactional.id", args.get("txid"), "compression.type", args.getOrDefault("codec", "lz4"));
             KafkaConsumer<String, String> c = consumer(args.get("group"), "classic", "enable.auto.commit", "false", "max.poll.records", "1000")) {
            p.initTransactions();
            c.subscribe(List.of(args.get("from")));
            while (moved < expect) {
                ConsumerRecords<String, String> batch = c.poll(Duration.ofMillis(500));
                if (batch.isEmpty()) continue;
                p.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> ends = new HashMap<>(), starts = new HashMap<>();
                for (ConsumerRecord<String, String> r : batch) {
                    TopicPartition tp = new TopicPartition(r.topic(), r.partition());
                    p.send(new ProducerRecord<>(args.get("to"), r.key(), r.value()));
                    starts.putIfAbsent(tp, new OffsetAndMetadata(r.offset()));
                    ends.put(tp, new OffsetAndMetadata(r.offset() + 1));
                }
                p.sendOffsetsToTransaction(ends, c.groupMetadata());
                if (++txns % every == 0) {
                    p.flush();
                    p.abortTransaction();
                    aborted += batch.count();
                    starts.forEach((tp, o) -> c.seek(tp, o.offset()));
                } else {
                    p.commitTransaction();
                    moved += batch.count();
                }
            }
        }
        System.out.println("moved " + moved + " aborted " + aborted);
    }

    // ---- smoke ----------------------------------------------------------------------------------------------

    interface Body { void run() throws Exception; }

    volatile boolean ok = true;
    final String prefix = args.get("prefix");

    void check(String name, Body body) {
        String only = args.get("only");
        if (only != null && !only.equals(name)) return;
        long start = System.nanoTime();
        String error = null;
        ExecutorService one = Executors.newSingleThreadExecutor(r -> { Thread t = new Thread(r); t.setDaemon(true); return t; });
        try {
            one.submit(() -> { body.run(); return null; }).get(60, TimeUnit.SECONDS);
        } catch (java.util.concurrent.TimeoutException e) {
            error = "no end within 60 s";
        } catch (Exception e) {
            Throwable t = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
            StringBuilder s = new StringBuilder(t.toString());
            for (Throwable c = t.getCause(); c != null; c = c.getCause()) s.append(" <- ").append(c);
            for (StackTraceElement f : t.getStackTrace()) if (f.getClassName().startsWith("Driver")) { s.append(" at line ").append(f.getLineNumber()); break; }
            error = s.toString().replace('\n', ' ').replace('\t', ' ');
        }
        one.shutdownNow();
        double seconds = (System.nanoTime() - start) / 1e9;
        System.out.println(String.format(Locale.ROOT, "%s\t%s\t%.1f", error == null ? "PASS" : "FAIL", name, seconds) + (error == null ? "" : "\t" + error));
        System.out.flush();
        if (error != null) ok = false;
    }

    static void expect(Object want, Object got, String what) {
        if (!Objects.equals(want, got)) throw new IllegalStateException(what + ": expected " + want + ", got " + got);
    }

    /** Runs body and says which of the error types it threw; anything else is a failure. */
    static void expectError(Body body, Class<?>... types) throws Exception {
        try {
            body.run();
        } catch (Throwable t) {
            for (Throwable c = t; c != null; c = c.getCause())
                for (Class<?> type : types) if (type.isInstance(c)) return;
            throw new IllegalStateException("expected " + Arrays.toString(types) + ", got " + t, t);
        }
        throw new IllegalStateException("expected " + Arrays.toString(types) + ", got no error");
    }

    static void until(String what, BooleanSupplier done, Runnable step) {
        long end = System.nanoTime() + 40_000_000_000L;
        while (!done.getAsBoolean()) {
            if (System.nanoTime() > end) throw new IllegalStateException("gave up waiting for " + what);
            step.run();
        }
    }

    String topic(String name, int partitions, String... config) throws Exception {
        String t = prefix + "-" + name;
        try (Admin a = admin()) {
            a.createTopics(List.of(new NewTopic(t, partitions, REPLICAS).configs(pairs(config)))).all().get();
            Settle.settled();
            // Apache Kafka answers before its logs are made. An idempotent producer that writes meanwhile can have its
            // second batch taken and its first refused for ever, so wait until every partition answers.
            Map<TopicPartition, OffsetSpec> all = new HashMap<>();
            for (int i = 0; i < partitions; i++) all.put(new TopicPartition(t, i), OffsetSpec.latest());
            until(t + " to be served", () -> served(a, all), () -> sleep(20));
        }
        return t;
    }

    static boolean served(Admin a, Map<TopicPartition, OffsetSpec> partitions) {
        try {
            a.listOffsets(partitions).all().get();
            return true;
        } catch (ExecutionException e) {
            if (e.getCause() instanceof UnknownTopicOrPartitionException || e.getCause() instanceof LeaderNotAvailableException) return false;
            throw new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static Map<String, String> pairs(String... kv) {
        Map<String, String> m = new HashMap<>();
        for (int i = 0; i < kv.length; i += 2) m.put(kv[i], kv[i + 1]);
        return m;
    }

    /** How to log in, where the environment says so. */
    static Map<String, String> login() {
        String mechanism = System.getenv("SASL_MECHANISM");
        if (mechanism == null) return Map.of();
        String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
        return Map.of("security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", mechanism, "sasl.jaas.config",
            "org.apache.kafka.common.security." + module + " required username=\"" + System.getenv("SASL_USER") + "\" password=\""
                + System.getenv("SASL_PASSWORD") + "\";");
    }

    static Admin admin() { return Admin.create(Map.of("bootstrap.servers", BOOTSTRAP)); }

    static KafkaProducer<String, String> strings(String... kv) {
        Map<String, Object> m = new HashMap<>(pairs(kv));
        m.put("bootstrap.servers", BOOTSTRAP);
        m.putAll(login());
        m.putIfAbsent("acks", "all");
        return new KafkaProducer<>(m, new StringSerializer(), new StringSerializer());
    }

    static KafkaProducer<byte[], byte[]> bytes(String... kv) {
        Map<String, Object> m = new HashMap<>(pairs(kv));
        m.put("bootstrap.servers", BOOTSTRAP);
        m.putIfAbsent("acks", "all"); // clients before 3.0 wait for the leader alone, whose followers may then be behind
        return new KafkaProducer<>(m, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static Map<String, Object> consumerConfig(String group, String protocol, String... kv) {
        Map<String, Object> m = new HashMap<>(pairs(kv));
        m.put("bootstrap.servers", BOOTSTRAP);
        m.putAll(login());
        m.putIfAbsent("auto.offset.reset", "earliest");
        m.putIfAbsent("metadata.max.age.ms", "1000");
        if (group != null) m.put("group.id", group);
        else m.put("enable.auto.commit", "false");
        if (protocol.equals("consumer")) m.put("group.protocol", "consumer");
        else m.putIfAbsent("heartbeat.interval.ms", "500");
        return m;
    }

    static KafkaConsumer<String, String> consumer(String group, String protocol, String... kv) {
        return new KafkaConsumer<>(consumerConfig(group, protocol, kv), new StringDeserializer(), new StringDeserializer());
    }

    /** Reads a topic whole, up to its end offsets at the isolation level, in partition and offset order. */
    static List<ConsumerRecord<byte[], byte[]>> readAll(String topic, String isolation) {
        List<ConsumerRecord<byte[], byte[]>> out = new ArrayList<>();
        try (KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(consumerConfig(null, "classic", "isolation.level", isolation,
                "max.partition.fetch.bytes", "20000000", "fetch.max.bytes", "20000000"), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> tps = new ArrayList<>();
            c.partitionsFor(topic).forEach(i -> tps.add(new TopicPartition(topic, i.partition())));
            c.assign(tps);
            c.seekToBeginning(tps);
            Map<TopicPartition, Long> ends = c.endOffsets(tps);
            until("the end of " + topic + " " + ends, () -> tps.stream().allMatch(tp -> c.position(tp) >= ends.get(tp)),
                () -> c.poll(Duration.ofMillis(200)).forEach(out::add));
        }
        out.sort(Comparator.<ConsumerRecord<byte[], byte[]>>comparingInt(ConsumerRecord::partition).thenComparingLong(ConsumerRecord::offset));
        return out;
    }

    static List<String> values(String topic, String isolation) {
        List<String> out = new ArrayList<>();
        readAll(topic, isolation).forEach(r -> out.add(new String(r.value(), StandardCharsets.UTF_8)));
        return out;
    }

    /** Waits until read_committed sees the values: a commit is answered before its markers are written. */
    static void committedAre(List<String> want, Supplier<List<String>> read) {
        List<String> got = read.get();
        for (int i = 0; i < 100 && got.size() < want.size(); i++) got = read.get();
        expect(want, got, "committed values");
    }

    /** Runs checks that wait for the heartbeats of the consumer protocol, whose interval is the broker's, in the time of one. */
    static void sideBySide(List<Runnable> checks) throws Exception {
        List<Thread> threads = new ArrayList<>();
        for (Runnable c : checks) threads.add(new Thread(c));
        for (Thread t : threads) t.start();
        for (Thread t : threads) t.join();
    }

    boolean smoke() throws Exception {
        check("codecs", () -> {
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                String t = topic("codec-" + codec, 1);
                List<String> sent = new ArrayList<>();
                try (KafkaProducer<String, String> p = strings("compression.type", codec, "linger.ms", "20")) {
                    for (int i = 0; i < 500; i++) {
                        sent.add(codec + "-" + i + "-" + "x".repeat(i % 50));
                        p.send(new ProducerRecord<>(t, "k" + i % 7, sent.get(i)));
                    }
                }
                expect(sent, values(t, "read_uncommitted"), codec + " values");
            }
        });
        check("null-keys-values-headers", () -> {
            String t = topic("nulls", 1);
            try (KafkaProducer<byte[], byte[]> p = bytes()) {
                p.send(new ProducerRecord<>(t, null, null)).get();
                p.send(new ProducerRecord<>(t, new byte[0], new byte[0])).get();
                p.send(new ProducerRecord<>(t, 0, 1_000_000_000_000L, "k".getBytes(), "v".getBytes(),
                    List.of(new RecordHeader("a", "1".getBytes()), new RecordHeader("a", null), new RecordHeader("", new byte[0])))).get();
            }
            List<ConsumerRecord<byte[], byte[]>> got = readAll(t, "read_uncommitted");
            expect(3, got.size(), "records");
            expect(null, got.get(0).key(), "null key");
            expect(null, got.get(0).value(), "null value");
            expect(0, got.get(1).value().length, "empty value");
            expect(1_000_000_000_000L, got.get(2).timestamp(), "timestamp");
            expect(3, got.get(2).headers().toArray().length, "headers");
            expect(null, got.get(2).headers().toArray()[1].value(), "null header value");
        });
        check("acks-0-and-1", () -> {
            String t = topic("acks", 1);
            for (String acks : List.of("0", "1"))
                try (KafkaProducer<String, String> p = strings("acks", acks, "enable.idempotence", "false")) {
                    for (int i = 0; i < 100; i++) p.send(new ProducerRecord<>(t, "v" + i)).get();
                }
            until("200 records", () -> values(t, "read_uncommitted").size() == 200, () -> { });
        });
        check("idempotence", () -> {
            String t = topic("idempotent", 3);
            try (KafkaProducer<String, String> p = strings("enable.idempotence", "true", "batch.size", "200", "max.in.flight.requests.per.connection", "5")) {
                for (int i = 0; i < 3000; i++) p.send(new ProducerRecord<>(t, i % 3, null, "" + i));
            }
            Map<Integer, Long> next = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> r : readAll(t, "read_uncommitted")) {
                expect(next.getOrDefault(r.partition(), 0L), r.offset(), "offset in partition " + r.partition());
                expect("" + (r.offset() * 3 + r.partition()), new String(r.value()), "value");
                next.put(r.partition(), r.offset() + 1);
            }
            expect(Map.of(0, 1000L, 1, 1000L, 2, 1000L), next, "end offsets");
        });
        check("transactions", this::transactions);
        check("transaction-fencing", this::fencing);
        check("transaction-offsets", this::transactionOffsets);
        check("transaction-timeout", () -> {
            String t = topic("txn-timeout", 1);
            try (KafkaProducer<String, String> p = strings("transactional.id", prefix + "-timeout", "transaction.timeout.ms", "1000")) {
                p.initTransactions();
                p.beginTransaction();
                p.send(new ProducerRecord<>(t, "lost")).get();
                try (KafkaProducer<String, String> other = strings()) { other.send(new ProducerRecord<>(t, "after")).get(); }
                until("the abort", () -> values(t, "read_committed").equals(List.of("after")), () -> { });
                expectError(p::commitTransaction, KafkaException.class);
            }
        });
        check("seek-by-time", () -> {
            String t = topic("times", 1);
            long base = 1_600_000_000_000L;
            try (KafkaProducer<String, String> p = strings("compression.type", "zstd", "linger.ms", "50")) {
                for (int i = 0; i < 100; i++) p.send(new ProducerRecord<>(t, 0, base + i * 1000L, null, "" + i));
            }
            TopicPartition tp = new TopicPartition(t, 0);
            try (KafkaConsumer<String, String> c = consumer(null, "classic")) {
                expect(42L, c.offsetsForTimes(Map.of(tp, base + 41_001)).get(tp).offset(), "offset inside a compressed batch");
                expect(base + 42_000, c.offsetsForTimes(Map.of(tp, base + 41_001)).get(tp).timestamp(), "its timestamp");
                expect(0L, c.offsetsForTimes(Map.of(tp, 0L)).get(tp).offset(), "offset of time 0");
                expect(null, c.offsetsForTimes(Map.of(tp, base + 100_000)).get(tp), "offset of a time past the end");
                c.assign(List.of(tp));
                c.seek(tp, 42);
                List<String> got = new ArrayList<>();
                until("one record", () -> !got.isEmpty(), () -> c.poll(Duration.ofMillis(200)).forEach(r -> got.add(r.value())));
                expect("42", got.get(0), "first record after the seek");
            }
            if (major >= 3) try (Admin a = admin()) {
                expect(99L, a.listOffsets(Map.of(tp, maxTimestamp())).all().get().get(tp).offset(), "offset of the highest timestamp");
            }
        });
        check("admin", this::adminCheck);
        check("large-messages", () -> {
            String t = topic("large", 1, "max.message.bytes", "10000000");
            byte[] big = new byte[5_000_000];
            new Random(1).nextBytes(big);
            try (KafkaProducer<byte[], byte[]> p = bytes("max.request.size", "20000000", "buffer.memory", "50000000")) {
                p.send(new ProducerRecord<>(t, null, big)).get();
                expectError(() -> p.send(new ProducerRecord<>(t, null, new byte[11_000_000])).get(), RecordTooLargeException.class);
            }
            List<ConsumerRecord<byte[], byte[]>> got = readAll(t, "read_uncommitted");
            expect(1, got.size(), "records");
            expect(true, Arrays.equals(big, got.get(0).value()), "the same bytes");
            try (KafkaConsumer<byte[], byte[]> c = new KafkaConsumer<>(consumerConfig(null, "classic", "max.partition.fetch.bytes", "1000"),
                    new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                c.assign(List.of(new TopicPartition(t, 0)));
                List<Integer> sizes = new ArrayList<>();
                until("a batch above the fetch limit", () -> !sizes.isEmpty(), () -> c.poll(Duration.ofMillis(500)).forEach(r -> sizes.add(r.value().length)));
            }
        });
        check("many-partitions", () -> {
            String t = topic("many", 200);
            try (KafkaProducer<String, String> p = strings()) {
                for (int i = 0; i < 2000; i++) p.send(new ProducerRecord<>(t, i % 200, null, "" + i));
            }
            expect(2000, values(t, "read_uncommitted").size(), "records");
        });
        check("pause-resume", () -> {
            String t = topic("pause", 2);
            try (KafkaProducer<String, String> p = strings()) {
                for (int i = 0; i < 200; i++) p.send(new ProducerRecord<>(t, i % 2, null, "" + i));
            }
            try (KafkaConsumer<String, String> c = consumer(prefix + "-pause", "classic")) {
                c.subscribe(List.of(t));
                TopicPartition p0 = new TopicPartition(t, 0), p1 = new TopicPartition(t, 1);
                Map<Integer, Integer> count = new HashMap<>();
                until("an assignment", () -> c.assignment().size() == 2, () -> c.poll(Duration.ofMillis(100)).forEach(r -> count.merge(r.partition(), 1, Integer::sum)));
                c.seekToBeginning(List.of(p0, p1));
                count.clear();
                c.pause(List.of(p0));
                until("partition 1", () -> count.getOrDefault(1, 0) == 100, () -> c.poll(Duration.ofMillis(100)).forEach(r -> count.merge(r.partition(), 1, Integer::sum)));
                expect(0, count.getOrDefault(0, 0), "records of the paused partition");
                c.resume(List.of(p0));
                until("partition 0", () -> count.getOrDefault(0, 0) == 100, () -> c.poll(Duration.ofMillis(100)).forEach(r -> count.merge(r.partition(), 1, Integer::sum)));
            }
        });
        check("regex-subscription", () -> regex("classic"));
        check("group-classic", () -> groupOfThree("classic"));
        check("group-cooperative", () -> groupOfThree("cooperative"));
        check("group-static", this::staticMembers);
        check("group-rebalance-resume", () -> resume("classic"));
        if (major < 3) return ok;
        List<Runnable> slow = new ArrayList<>(List.of(
            () -> check("group-kip848", () -> groupOfThree("consumer")),
            () -> check("group-kip848-resume", () -> resume("consumer")),
            () -> check("group-kip848-regex", () -> regex("consumer")),
            () -> check("group-live-migration", this::migration)));
        if (major >= 4) slow.add(() -> check("group-kip848-re2j", () -> regex("re2j")));
        sideBySide(slow);
        return ok;
    }

    void transactions() throws Exception {
        String t = topic("txn", 2);
        List<String> committed = new ArrayList<>(), all = new ArrayList<>();
        try (KafkaProducer<String, String> p = strings("transactional.id", prefix + "-txn")) {
            p.initTransactions();
            for (int n = 0; n < 6; n++) {
                p.beginTransaction();
                for (int i = 0; i < 10; i++) {
                    p.send(new ProducerRecord<>(t, 0, null, n + "-" + i));
                    all.add(n + "-" + i);
                    if (n % 3 != 1) committed.add(n + "-" + i);
                }
                p.send(new ProducerRecord<>(t, 1, null, "other"));
                if (n % 3 == 1) { p.flush(); p.abortTransaction(); } else p.commitTransaction();
            }
            p.beginTransaction();
            p.send(new ProducerRecord<>(t, 0, null, "open")).get();
            TopicPartition tp = new TopicPartition(t, 0);
            try (KafkaConsumer<String, String> rc = consumer(null, "classic", "isolation.level", "read_committed");
                 KafkaConsumer<String, String> ru = consumer(null, "classic")) {
                until("a last stable offset of 66 while a transaction is open", () -> rc.endOffsets(List.of(tp)).get(tp) == 66L, () -> { });
                expect(67L, ru.endOffsets(List.of(tp)).get(tp), "high watermark");
            }
            committedAre(committed, () -> only(0, t, "read_committed"));
            all.add("open");
            expect(all, only(0, t, "read_uncommitted"), "uncommitted values");
            p.commitTransaction();
            committed.add("open");
            committedAre(committed, () -> only(0, t, "read_committed"));
        }
    }

    static List<String> only(int partition, String topic, String isolation) {
        List<String> out = new ArrayList<>();
        readAll(topic, isolation).forEach(r -> { if (r.partition() == partition) out.add(new String(r.value())); });
        return out;
    }

    void fencing() throws Exception {
        String t = topic("fence", 1);
        KafkaProducer<String, String> zombie = strings("transactional.id", prefix + "-fence");
        zombie.initTransactions();
        zombie.beginTransaction();
        zombie.send(new ProducerRecord<>(t, "zombie")).get();
        try (KafkaProducer<String, String> p = strings("transactional.id", prefix + "-fence")) {
            p.initTransactions();
            p.beginTransaction();
            p.send(new ProducerRecord<>(t, "alive")).get();
            p.commitTransaction();
            expectError(() -> {
                zombie.send(new ProducerRecord<>(t, "late")).get();
                zombie.commitTransaction();
            }, ProducerFencedException.class, InvalidProducerEpochException.class);
        } finally {
            zombie.close(Duration.ZERO);
        }
        committedAre(List.of("alive"), () -> values(t, "read_committed"));
    }

    void transactionOffsets() throws Exception {
        String in = topic("txn-in", 1), out = topic("txn-out", 1), group = prefix + "-txn-group";
        TopicPartition tp = new TopicPartition(in, 0);
        try (KafkaProducer<String, String> p = strings("transactional.id", prefix + "-txn-offsets");
             KafkaConsumer<String, String> c = consumer(group, "classic", "enable.auto.commit", "false")) {
            for (int i = 0; i < 10; i++) { try (KafkaProducer<String, String> q = strings()) { q.send(new ProducerRecord<>(in, "" + i)); } }
            p.initTransactions();
            c.subscribe(List.of(in));
            List<String> got = new ArrayList<>();
            until("the input", () -> got.size() == 10, () -> c.poll(Duration.ofMillis(100)).forEach(r -> got.add(r.value())));
            p.beginTransaction();
            p.send(new ProducerRecord<>(out, "aborted"));
            p.sendOffsetsToTransaction(Map.of(tp, new OffsetAndMetadata(10)), c.groupMetadata());
            p.abortTransaction();
            until("no committed offset after an abort", () -> c.committed(Set.of(tp)).get(tp) == null, () -> { });
            p.beginTransaction();
            p.send(new ProducerRecord<>(out, "committed"));
            p.sendOffsetsToTransaction(Map.of(tp, new OffsetAndMetadata(7, "note")), c.groupMetadata());
            p.commitTransaction();
            expect(new OffsetAndMetadata(7, "note").offset(), c.committed(Set.of(tp)).get(tp).offset(), "committed offset after a commit");
            expect("note", c.committed(Set.of(tp)).get(tp).metadata(), "its metadata");
            p.beginTransaction();
            expectError(() -> {
                p.sendOffsetsToTransaction(Map.of(tp, new OffsetAndMetadata(9)), new ConsumerGroupMetadata(group, 99, "nobody", Optional.empty()));
                p.commitTransaction();
            }, CommitFailedException.class, KafkaException.class);
        }
        committedAre(List.of("committed"), () -> values(out, "read_committed"));
    }

    static OffsetSpec maxTimestamp() throws Exception { return (OffsetSpec) OffsetSpec.class.getMethod("maxTimestamp").invoke(null); }

    @SuppressWarnings("unchecked")
    static Map<String, TopicDescription> describe(Admin a, String topic) throws Exception {
        Object r = a.describeTopics(List.of(topic));
        String all = major >= 4 ? "allTopicNames" : "all";
        return ((KafkaFuture<Map<String, TopicDescription>>) r.getClass().getMethod(all).invoke(r)).get();
    }

    void adminCheck() throws Exception {
        String t = topic("admin", 2, "retention.ms", "3600000", "cleanup.policy", "compact,delete");
        ConfigResource res = new ConfigResource(ConfigResource.Type.TOPIC, t);
        try (Admin a = admin()) {
            expectError(() -> a.createTopics(List.of(new NewTopic(t, 1, REPLICAS))).all().get(), TopicExistsException.class);
            expectError(() -> a.createTopics(List.of(new NewTopic(prefix + "-rf", 1, (short) (NODES + 1)))).all().get(), InvalidReplicationFactorException.class);
            expectError(() -> a.createTopics(List.of(new NewTopic("a b", 1, (short) 1))).all().get(), InvalidTopicException.class);
            expectError(() -> a.createTopics(List.of(new NewTopic(prefix + "-bad", 1, REPLICAS).configs(Map.of("no.such", "1")))).all().get(), InvalidConfigurationException.class);
            a.createTopics(List.of(new NewTopic(prefix + "-dry", 1, REPLICAS)), new CreateTopicsOptions().validateOnly(true)).all().get();
            expect(true, a.listTopics().names().get().contains(t), "listed");
            expect(false, a.listTopics().names().get().contains(prefix + "-dry"), "a validated topic listed");
            expect(2, describe(a, t).get(t).partitions().size(), "partitions");
            expectError(() -> describe(a, prefix + "-none"), UnknownTopicOrPartitionException.class);
            a.createPartitions(Map.of(t, NewPartitions.increaseTo(4))).all().get();
            Settle.settled();
            until("4 partitions", () -> { try { return describe(a, t).get(t).partitions().size() == 4; } catch (Exception e) { return false; } }, () -> { });
            expectError(() -> a.createPartitions(Map.of(t, NewPartitions.increaseTo(2))).all().get(), InvalidPartitionsException.class);
            Config c = a.describeConfigs(List.of(res)).all().get().get(res);
            expect("3600000", c.get("retention.ms").value(), "retention.ms");
            expect(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, c.get("retention.ms").source(), "its source");
            expect(true, c.get("segment.bytes").isDefault(), "segment.bytes is default");
            a.incrementalAlterConfigs(Map.of(res, List.of(
                new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE),
                new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.SUBTRACT),
                new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET)))).all().get();
            Settle.settled();
            Config d = a.describeConfigs(List.of(res)).all().get().get(res);
            expect("604800000", d.get("retention.ms").value(), "retention.ms after delete");
            expect("delete", d.get("cleanup.policy").value(), "cleanup.policy after subtract");
            expect("2000000", d.get("max.message.bytes").value(), "max.message.bytes");
            Collection<Node> nodes = a.describeCluster().nodes().get();
            expect(NODES, nodes.size(), "nodes");
            expect(false, a.describeCluster().clusterId().get().isEmpty(), "empty cluster id");
            int node = nodes.iterator().next().id();
            expect(true, a.describeLogDirs(List.of(node)).descriptions().get(node).get().size() >= 1, "log dirs");
            try (KafkaProducer<String, String> p = strings()) {
                for (int i = 0; i < 100; i++) p.send(new ProducerRecord<>(t, 0, null, "v" + i));
            }
            TopicPartition tp = new TopicPartition(t, 0);
            expect(60L, a.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(60))).all().get() == null ? 60L : 0L, "delete records");
            expect(60L, a.listOffsets(Map.of(tp, OffsetSpec.earliest())).all().get().get(tp).offset(), "earliest offset");
            expect(100L, a.listOffsets(Map.of(tp, OffsetSpec.latest())).all().get().get(tp).offset(), "latest offset");
            String group = prefix + "-admin-group";
            a.alterConsumerGroupOffsets(group, Map.of(tp, new OffsetAndMetadata(70))).all().get();
            expect(70L, a.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp).offset(), "altered group offset");
            expect(true, a.listConsumerGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group)), "group listed");
            expect(ConsumerGroupState.EMPTY, a.describeConsumerGroups(List.of(group)).all().get().get(group).state(), "group state");
            a.deleteConsumerGroups(List.of(group)).all().get();
            a.deleteTopics(List.of(t)).all().get();
            until("the deletion", () -> { try { return !a.listTopics().names().get().contains(t); } catch (Exception e) { return false; } }, () -> { });
        }
    }

    /** One member of a group, polled by its own thread. */
    static class Member implements AutoCloseable {
        final KafkaConsumer<String, String> c;
        volatile Set<TopicPartition> assigned = Set.of();
        final AtomicInteger rebalances = new AtomicInteger();
        final ConcurrentLinkedQueue<String> seen = new ConcurrentLinkedQueue<>();
        volatile Throwable failed;
        volatile boolean end;
        final Thread thread;

        Member(KafkaConsumer<String, String> c, java.util.function.Consumer<KafkaConsumer<String, String>> subscribe) {
            this.c = c;
            thread = new Thread(() -> {
                try {
                    subscribe.accept(c);
                    while (!end) {
                        c.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.topic() + "/" + r.partition() + "/" + r.offset()));
                        Set<TopicPartition> now = Set.copyOf(c.assignment());
                        if (!now.equals(assigned)) { assigned = now; rebalances.incrementAndGet(); }
                    }
                } catch (Throwable t) {
                    failed = t;
                } finally {
                    try { c.close(Duration.ofSeconds(10)); } catch (Throwable t) { if (failed == null) failed = t; }
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        public void close() throws Exception {
            end = true;
            thread.join(15_000);
            if (failed != null) throw new IllegalStateException("member failed", failed);
        }
    }

    static String spread(Member... members) {
        StringBuilder s = new StringBuilder();
        for (Member m : members) s.append(m.assigned.size()).append(m.failed == null ? " " : "! ");
        return s.toString();
    }

    /** Waits until the members own all n partitions, each exactly one, and none owns more than the fair share. */
    static void balanced(int n, Member... members) throws Exception {
        long end = System.nanoTime() + 40_000_000_000L;
        for (;;) {
            Set<TopicPartition> all = new HashSet<>();
            int sum = 0, max = 0;
            for (Member m : members) {
                if (m.failed != null) throw new IllegalStateException("member failed", m.failed);
                all.addAll(m.assigned); sum += m.assigned.size(); max = Math.max(max, m.assigned.size());
            }
            if (all.size() == n && sum == n && max <= (n + members.length - 1) / members.length) return;
            if (System.nanoTime() > end) throw new IllegalStateException(n + " partitions over " + members.length + " members ended as " + spread(members));
            Thread.sleep(20);
        }
    }

    Member member(String group, String protocol, String topic, String... kv) {
        if (protocol.equals("cooperative"))
            return member(group, "classic", topic, "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        return new Member(consumer(group, protocol, kv), c -> c.subscribe(List.of(topic)));
    }

    void groupOfThree(String protocol) throws Exception {
        String t = topic("group-" + protocol, 6), group = prefix + "-group-" + protocol;
        try (Member a = member(group, protocol, t)) {
            balanced(6, a);
            Member b = member(group, protocol, t), c = member(group, protocol, t);
            balanced(6, a, b, c);
            try (Admin admin = admin()) {
                ConsumerGroupDescription d = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                expect(3, d.members().size(), "described members");
                expectError(() -> admin.deleteConsumerGroups(List.of(group)).all().get(), GroupNotEmptyException.class);
            }
            b.close();
            balanced(6, a, c);
            c.close();
            balanced(6, a);
        }
        try (Admin admin = admin()) {
            admin.deleteConsumerGroups(List.of(group)).all().get();
            expect(false, admin.listConsumerGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group)), "group listed after deletion");
        }
    }

    /** Members come and go under load: every record is seen, and committed positions carry over. */
    void resume(String protocol) throws Exception {
        String t = topic("resume-" + protocol, 4), group = prefix + "-resume-" + protocol;
        Set<String> seen = new HashSet<>();
        try (KafkaProducer<String, String> p = strings()) {
            for (int round = 0; round < 3; round++) {
                try (Member a = member(group, protocol, t); Member b = member(group, protocol, t)) {
                    for (int i = 0; i < 400; i++) p.send(new ProducerRecord<>(t, i % 4, null, "" + i));
                    p.flush();
                    int want = (round + 1) * 400;
                    until("round " + round, () -> { Set<String> s = new HashSet<>(seen); s.addAll(a.seen); s.addAll(b.seen); return s.size() == want; }, () -> sleep(20));
                    seen.addAll(a.seen);
                    seen.addAll(b.seen);
                    if (round > 0) expect(true, a.seen.size() + b.seen.size() < want, "records read again in round " + round + " from the start");
                }
            }
        }
        expect(1200, seen.size(), "records");
    }

    static void sleep(int ms) { try { Thread.sleep(ms); } catch (InterruptedException e) { throw new IllegalStateException(e); } }

    void staticMembers() throws Exception {
        String t = topic("static", 4), group = prefix + "-static";
        Member a = member(group, "classic", t, "group.instance.id", "one", "session.timeout.ms", "30000");
        Member b = member(group, "classic", t, "group.instance.id", "two", "session.timeout.ms", "30000");
        balanced(4, a, b);
        Set<TopicPartition> before = a.assigned;
        int rebalances = b.rebalances.get();
        a.close();
        a = member(group, "classic", t, "group.instance.id", "one", "session.timeout.ms", "30000");
        balanced(4, a, b);
        expect(before, a.assigned, "assignment after the restart of a static member");
        expect(rebalances, b.rebalances.get(), "rebalances of the other member");
        Member twin = member(group, "classic", t, "group.instance.id", "one", "session.timeout.ms", "30000");
        final Member old = a;
        until("the fencing of the old twin", () -> old.failed instanceof FencedInstanceIdException, () -> sleep(20));
        balanced(4, twin, b);
        twin.close();
        b.close();
        try (Admin admin = admin()) {
            admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(
                List.of(new MemberToRemove("one"), new MemberToRemove("two")))).all().get();
            expect(ConsumerGroupState.EMPTY, admin.describeConsumerGroups(List.of(group)).all().get().get(group).state(), "state without members");
        }
    }

    void regex(String how) throws Exception {
        String name = prefix + "-regex-" + how, t1 = topic("regex-" + how + "-1", 1);
        Pattern pattern = Pattern.compile(Pattern.quote(name).replace("\\Q", "").replace("\\E", "") + "-[0-9]+");
        String protocol = how.equals("re2j") ? "consumer" : how;
        try (Member m = new Member(consumer(name + "-group", protocol), c -> {
            if (how.equals("re2j")) subscribeServerSide(c, pattern.pattern());
            else c.subscribe(pattern);
        }); KafkaProducer<String, String> p = strings()) {
            p.send(new ProducerRecord<>(t1, "one")).get();
            until("the first topic", () -> m.seen.contains(t1 + "/0/0"), () -> sleep(20));
            String t2 = topic("regex-" + how + "-22", 1);
            topic("regex-" + how + "-no", 1);
            p.send(new ProducerRecord<>(t2, "two")).get();
            until("a topic that came later", () -> m.seen.contains(t2 + "/0/0"), () -> { sleep(20); if (m.failed != null) throw new IllegalStateException(m.failed); });
            expect(2, m.assigned.size(), "partitions assigned");
        }
    }

    static void subscribeServerSide(KafkaConsumer<String, String> c, String pattern) {
        try {
            Class<?> type = Class.forName("org.apache.kafka.clients.consumer.SubscriptionPattern");
            KafkaConsumer.class.getMethod("subscribe", type).invoke(c, type.getConstructor(String.class).newInstance(pattern));
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A classic group is rolled, member by member, to the consumer protocol and back, without a stop. */
    void migration() throws Exception {
        String t = topic("migrate", 6), group = prefix + "-migrate";
        Member a = member(group, "classic", t), b = member(group, "classic", t);
        balanced(6, a, b);
        Member c = member(group, "consumer", t);
        balanced(6, a, b, c);
        a.close();
        balanced(6, b, c);
        b.close();
        balanced(6, c);
        Member d = member(group, "classic", t);
        balanced(6, c, d);
        c.close();
        balanced(6, d);
        Member e = member(group, "classic", t);
        balanced(6, d, e);
        d.close();
        e.close();
    }
}

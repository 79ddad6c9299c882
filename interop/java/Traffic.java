import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;

/**
 * Clients of Java that run while a cluster is upgraded, with the client's own defaults: an idempotent producer, a
 * transactional one, and a member each of a classic and of a KIP-848 group that read committed records of both topics.
 *
 * <pre>Traffic BOOTSTRAP ORDERS COPIES</pre>
 *
 * Every 50 ms it prints "acked N committed N aborted N classic N consumer N"; an error that a client lets out becomes
 * "error WHO TEXT" and ends that client. A line on standard input ends the producers, which is told by "written"; the end
 * of standard input ends the rest.
 */
public class Traffic {
    static final int PER_TRANSACTION = 5; // every fifth transaction is aborted
    static String bootstrap, orders, copies;
    static volatile boolean write = true, read = true;
    static final AtomicLong acked = new AtomicLong(), committed = new AtomicLong(), aborted = new AtomicLong();
    static final AtomicLong[] seen = {new AtomicLong(), new AtomicLong()};

    interface Body { void run() throws Exception; }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        orders = args[1];
        copies = args[2];
        List<Thread> writers = List.of(client("producer", Traffic::produce), client("transactions", Traffic::transact));
        List<Thread> readers = List.of(
            client("classic group", () -> consume(0, "classic")), client("KIP-848 group", () -> consume(1, "consumer")));
        Thread teller = new Thread(Traffic::tell);
        teller.setDaemon(true);
        teller.start();
        if (System.in.read() >= 0) {
            write = false;
            for (Thread t : writers) t.join();
            print();
            say("written");
            while (System.in.read() >= 0) { }
        }
        write = read = false;
        for (Thread t : writers) t.join();
        for (Thread t : readers) t.join();
        print();
    }

    static Thread client(String who, Body body) {
        Thread t = new Thread(() -> {
            try {
                body.run();
            } catch (Throwable e) {
                StringBuilder s = new StringBuilder(e.toString());
                for (Throwable c = e.getCause(); c != null; c = c.getCause()) s.append(" <- ").append(c);
                say("error " + who + ": " + s.toString().replace('\n', ' '));
            }
        });
        t.setDaemon(true);
        t.start();
        return t;
    }

    static void tell() {
        try {
            for (;;) {
                print();
                Thread.sleep(50);
            }
        } catch (InterruptedException e) {
            // the program ends
        }
    }

    static void print() {
        say("acked " + acked + " committed " + committed + " aborted " + aborted + " classic " + seen[0] + " consumer " + seen[1]);
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> m = new HashMap<>(more);
        m.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(m, new StringSerializer(), new StringSerializer());
    }

    /** Writes numbered records, up to a hundred on their way at once, until it is told to end; all are waited for. */
    static void produce() throws Exception {
        try (KafkaProducer<String, String> p = producer(Map.of())) {
            ArrayDeque<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayDeque<>();
            for (long i = 0; write || !sent.isEmpty(); ) {
                if (write) {
                    sent.add(p.send(new ProducerRecord<>(orders, Long.toString(i++))));
                    Thread.sleep(2);
                }
                while (!sent.isEmpty() && (sent.peek().isDone() || sent.size() > 100 || !write)) {
                    sent.poll().get();
                    acked.incrementAndGet();
                }
            }
        }
    }

    static void transact() throws Exception {
        try (KafkaProducer<String, String> p = producer(Map.of("transactional.id", "rolling-java"))) {
            p.initTransactions();
            for (long i = 0; write; i++) {
                p.beginTransaction();
                for (int n = 0; n < PER_TRANSACTION; n++) p.send(new ProducerRecord<>(copies, Long.toString(i)));
                // A commit is where the client looks at transaction.version again: records that wait would be sent as of the
                // new one, and after a downgrade the broker asks them for a partition that nobody added (client 4.3.1; Apache
                // Kafka 4.3.1 tells it TRANSACTION_ABORTABLE there as logstead does).
                p.flush();
                if (i % 5 == 4) {
                    p.abortTransaction();
                    aborted.addAndGet(PER_TRANSACTION);
                } else {
                    p.commitTransaction();
                    committed.addAndGet(PER_TRANSACTION);
                }
                Thread.sleep(5);
            }
        }
    }

    static void consume(int which, String protocol) {
        Map<String, Object> m = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "group.id", "java-" + protocol,
            "group.protocol", protocol, "auto.offset.reset", "earliest", "isolation.level", "read_committed"));
        try (KafkaConsumer<String, String> c = new KafkaConsumer<>(m, new StringDeserializer(), new StringDeserializer())) {
            c.subscribe(List.of(orders, copies));
            while (read) seen[which].addAndGet(c.poll(Duration.ofMillis(200)).count());
        }
    }
}

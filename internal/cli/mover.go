package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/logstead/logstead/internal/cluster/balance"
)

// moveFlags are the options of every command that moves replicas.
type moveFlags struct {
	danger     dangerFlags
	throttle   string
	planFile   string
	concurrent int
	noWait     bool

	before func() error // runs between the yes and the first move; nil for none
}

func (fl *moveFlags) add(f *pflag.FlagSet) {
	fl.danger.add(f)
	f.StringVar(&fl.throttle, "throttle", "", "bytes a second that a broker may copy for it, such as 50MiB; taken off at the end")
	f.IntVar(&fl.concurrent, "concurrent", 10, "partitions to move at once")
	f.BoolVar(&fl.noWait, "no-wait", false, "start all of it at once and do not wait for the end")
	f.StringVar(&fl.planFile, "plan-file", "", "also write the plan for kafka-reassign-partitions to a file")
}

func (fl *moveFlags) rate() (int64, error) {
	if fl.concurrent < 1 {
		return 0, usagef("--concurrent %d: at least 1", fl.concurrent)
	}
	if fl.throttle == "" {
		return 0, nil
	}
	n, err := parseBytes(fl.throttle)
	if err == nil && n < 1 {
		err = errors.New("at least one byte a second")
	}
	if err != nil {
		return 0, usagef("--throttle: %v", err)
	}
	return n, nil
}

// carryOut shows a plan, asks, and carries it out. Moves that are under way already are waited for, which is how
// a command goes on that was interrupted.
func (c *conn) carryOut(l *layout, moves []balance.Move, fl moveFlags, question, nothing string) error {
	rate, err := fl.rate()
	if err != nil {
		return err
	}
	plan := planOf(l, moves, nothing)
	if fl.planFile != "" {
		if err := writePlan(fl.planFile, plan); err != nil {
			return err
		}
	}
	if fl.danger.dryRun || len(moves) == 0 {
		return c.app.emit(plan)
	}
	if err := c.app.preview(fl.danger, plan); err != nil {
		return err
	}
	if err := c.app.confirm(fl.danger, question, 1); err != nil {
		return err
	}
	if fl.before != nil {
		if err := fl.before(); err != nil {
			return err
		}
	}
	m := newMover(c, l, moves, plan.Moves, fl, rate)
	err = m.run()
	if eerr := c.app.emit(m.rows); eerr != nil {
		return eerr
	}
	return err
}

// mover carries moves out, so many at once, and follows them.
type mover struct {
	c     *conn
	l     *layout
	moves []balance.Move
	rows  []moveRow
	fl    moveFlags
	rate  int64

	results []itemResult
	told    time.Time
	said    string
}

// newMover begins with the rows of the plan, one for each move.
func newMover(c *conn, l *layout, moves []balance.Move, rows []moveRow, fl moveFlags, rate int64) *mover {
	m := &mover{c: c, l: l, moves: moves, rows: rows, fl: fl, rate: rate}
	m.results = make([]itemResult, len(moves))
	for i := range moves {
		m.results[i].Name = fmt.Sprintf("%s-%d", moves[i].Topic, moves[i].Partition)
		p := l.part(moves[i].Topic, moves[i].Partition)
		if p != nil && p.moving() && slices.Equal(p.target(), moves[i].To) {
			m.rows[i].Status = moveGoes // somebody, or an earlier run, has started it
		}
	}
	return m
}

// What becomes of a move.
const (
	movePlanned = "planned"
	moveGoes    = "under way"
	moveDone    = "moved"
	moveFailed  = "failed"
)

// underWay are the partitions that are being moved, by topic and partition.
type underWay = map[string]map[int32]kmsg.ListPartitionReassignmentsResponseTopicPartition

// movePoll is the time between two looks at moves; the first looks come sooner.
const movePoll = time.Second

func (m *mover) run() error {
	if m.rate > 0 {
		if err := m.c.throttle(m.l, m.moves, m.rate); err != nil {
			return err
		}
	}
	wait := 20 * time.Millisecond
	for {
		if err := m.look(); err != nil {
			return m.interrupted(err)
		}
		if err := m.startSome(); err != nil {
			return m.interrupted(err)
		}
		if m.fl.noWait {
			return m.left()
		}
		if m.count(movePlanned)+m.count(moveGoes) == 0 {
			break
		}
		if !pause(m.c.base, wait) {
			return m.interrupted(context.Cause(m.c.base))
		}
		wait = min(2*wait, movePoll)
	}
	m.electFirst()
	if m.rate > 0 {
		if err := m.c.unthrottle(m.l, m.topics()); err != nil {
			return err
		}
	}
	return finish("cannot move every partition", m.results)
}

func (m *mover) count(status string) (n int) {
	for _, r := range m.rows {
		if r.Status == status {
			n++
		}
	}
	return n
}

func (m *mover) topics() []string {
	set := map[string]bool{}
	for _, mv := range m.moves {
		set[mv.Topic] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// startSome starts moves up to the limit.
func (m *mover) startSome() error {
	room := m.fl.concurrent - m.count(moveGoes)
	if m.fl.noWait {
		room = len(m.moves)
	}
	var req kadm.AlterPartitionAssignmentsReq
	for i := range m.moves {
		if m.rows[i].Status == movePlanned && room > 0 {
			req.Assign(m.moves[i].Topic, m.moves[i].Partition, m.moves[i].To)
			room--
		}
	}
	if len(req) == 0 {
		return nil
	}
	resps, err := call(m.c, "cannot start moves", func(ctx context.Context) (kadm.AlterPartitionAssignmentsResponses, error) {
		return m.c.AlterPartitionAssignments(ctx, req)
	})
	if err != nil {
		return err
	}
	for i := range m.moves {
		r, ok := resps[m.moves[i].Topic][m.moves[i].Partition]
		if !ok {
			continue
		}
		m.rows[i].Status = moveGoes
		if r.Err != nil {
			m.fail(i, kafkaFault("cannot move "+m.results[i].Name, r.Err, r.ErrMessage))
		}
	}
	return nil
}

func (m *mover) fail(i int, f *Fault) {
	m.results[i].fail(f)
	m.rows[i].Status, m.rows[i].Error = moveFailed, m.results[i].Error
}

// look finds out which moves have ended, and how.
func (m *mover) look() error {
	if m.count(moveGoes) == 0 {
		return nil
	}
	moving, err := m.c.reassignments()
	if err != nil {
		return err
	}
	var ended []int
	for i, mv := range m.moves {
		if _, goes := moving[mv.Topic][mv.Partition]; m.rows[i].Status == moveGoes && !goes {
			ended = append(ended, i)
		}
	}
	if len(ended) > 0 {
		if err := m.settle(ended); err != nil {
			return err
		}
	}
	m.tell(moving)
	return nil
}

// settle compares partitions that are no longer reassigned with what was asked for. Brokers learn of the end a
// little after the controller, so that what does not fit yet is looked at again, until the deadline.
func (m *mover) settle(ended []int) error {
	deadline := m.c.app.Now().Add(m.c.timeout)
	for {
		set := kadm.TopicsSet{}
		for _, i := range ended {
			set.Add(m.moves[i].Topic)
		}
		td, err := call(m.c, "cannot list topics", func(ctx context.Context) (kadm.TopicDetails, error) {
			return m.c.ListTopicsWithInternal(ctx, set.Topics()...)
		})
		if err != nil {
			return err
		}
		var rest []int
		for _, i := range ended {
			if slices.Equal(td[m.moves[i].Topic].Partitions[m.moves[i].Partition].Replicas, m.moves[i].To) {
				m.rows[i].Status = moveDone
				m.results[i].Status = moveDone
			} else {
				rest = append(rest, i)
			}
		}
		if ended = rest; len(ended) == 0 {
			return nil
		}
		if m.c.app.Now().After(deadline) {
			break
		}
		if !pause(m.c.base, 100*time.Millisecond) {
			return context.Cause(m.c.base)
		}
	}
	for _, i := range ended {
		m.fail(i, &Fault{
			What: "cannot move " + m.results[i].Name, Exit: exitConflict,
			Why: fmt.Sprintf("nothing is under way any more, and it is not on brokers %s: it was cancelled, or moved elsewhere",
				joinInts(m.moves[i].To)),
			Try: "logstead partition list",
		})
	}
	return nil
}

// tell says how far it is: at once when a move has ended, else every few seconds.
func (m *mover) tell(moving underWay) {
	s := fmt.Sprintf("%d of %s moved, %d under way", m.count(moveDone), countOf(len(m.moves), "partition"), m.count(moveGoes))
	now := m.c.app.Now()
	if s == m.said && now.Sub(m.told) < 5*time.Second {
		return
	}
	if m.count(moveGoes) > 0 && now.Sub(m.told) > movePoll {
		if have, want := m.copied(moving); want > 0 {
			s += fmt.Sprintf(": %s of %s copied", humanBytes(have), humanBytes(want))
		}
	}
	if s != m.said {
		m.said, m.told = s, now
		m.c.app.say("%s", s)
	}
}

// copied sums what the new replicas under way have, and what they will have.
func (m *mover) copied(moving underWay) (have, want int64) {
	set := kadm.TopicsSet{}
	for t, ps := range moving {
		for p := range ps {
			set.Add(t, p)
		}
	}
	ctx, cancel := m.c.step()
	defer cancel()
	dirs, err := m.c.DescribeAllLogDirs(ctx, set)
	if err != nil {
		return 0, 0 // it is only a remark
	}
	for i, mv := range m.moves {
		if m.rows[i].Status != moveGoes {
			continue
		}
		sizes := map[int32]int64{}
		dirs.Each(func(d kadm.DescribedLogDir) {
			if p, ok := d.Topics.Lookup(mv.Topic, mv.Partition); ok {
				sizes[d.Broker] = p.Size
			}
		})
		full := int64(0)
		for _, n := range sizes {
			full = max(full, n)
		}
		for _, id := range mv.Adding() {
			have += sizes[id]
			want += full
		}
	}
	return have, want
}

// electFirst gives the partitions to their new preferred leaders. A leader that stays in the set keeps leading
// otherwise.
func (m *mover) electFirst() {
	set := kadm.TopicsSet{}
	for i, mv := range m.moves {
		if m.rows[i].Status == moveDone && mv.To[0] != mv.From[0] {
			set.Add(mv.Topic, mv.Partition)
		}
	}
	if len(set) == 0 {
		return
	}
	rows, err := m.c.elect(set, kadm.ElectPreferredReplica)
	if err != nil {
		m.c.app.warn("preferred leaders are not elected: %v; try: logstead partition elect", err)
		return
	}
	for _, r := range rows {
		if r.Status == moveFailed {
			m.c.app.warn("%s:%d keeps its leader: %s; try: logstead partition elect %s:%d", r.Topic, r.Partition, r.Error, r.Topic, r.Partition)
		}
	}
}

// left says what goes on without this command.
func (m *mover) left() error {
	if m.rate > 0 {
		m.c.app.say("the throttle stays on; take it off when nothing moves any more: logstead partition throttle off")
	}
	return finish("cannot move every partition", m.results)
}

func (m *mover) interrupted(err error) error {
	if m.count(moveGoes) > 0 {
		m.c.app.say("%s under way go on; the same command takes up the rest, logstead partition cancel stops them",
			countOf(m.count(moveGoes), "move"))
	}
	if m.rate > 0 {
		m.c.app.say("the throttle stays on; to take it off: logstead partition throttle off")
	}
	return err
}

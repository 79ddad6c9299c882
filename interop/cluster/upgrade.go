package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/logstead/logstead/interop/local"
)

// upgradeVoters begins with three static voters, has Kafka's tool raise kraft.version to 1, the keys of the configuration
// replaced node by node, and a node without its directory take the place that it had with one.
func upgradeVoters(ctx context.Context, root, dir, kind string) (failed int, err error) {
	nodes, err := local.NewCluster(ctx, kind, filepath.Join(dir, "upgrade-"+kind), 3)
	if err != nil {
		return 0, err
	}
	nodes.Set = []string{"default.replication.factor=3"}
	nodes.MetadataVersion = "4.0-IV3"
	c := &cluster{Cluster: nodes, root: root}
	defer c.Close()
	if err := errors.Join(c.Format(ctx), c.StartAll(ctx)); err != nil {
		return 0, err
	}
	var wiped string
	return play("voters, from kraft.version 0, "+kind, []act{
		{"no controller can be added at kraft.version 0", func() error {
			if err := c.reaches(ctx, "kraft.version", "0"); err != nil {
				return err
			}
			return c.patiently(ctx, func() error {
				_, err := c.admin(ctx, quorum, "--command-config", c.Properties(1), "add-controller")
				return refused(err, "Cluster doesn't support adding voter because the kraft.version feature is 0")
			})
		}},
		{"kafka-features raises kraft.version", func() error {
			if err := c.patiently(ctx, func() error {
				_, err := c.admin(ctx, features, "upgrade", "--feature", "kraft.version=1", "--dry-run")
				return errors.Join(err, c.level(ctx, "kraft.version", "0"))
			}); err != nil {
				return err
			}
			return errors.Join(c.raiseKRaftVersion(ctx), c.voter(ctx, 1), c.voter(ctx, 2), c.voter(ctx, 3))
		}},
		{"and does not lower it", func() error {
			return c.patiently(ctx, func() error {
				_, err := c.admin(ctx, features, "downgrade", "--feature", "kraft.version=0")
				return refused(err, "Can't downgrade the version of this feature.")
			})
		}},
		{"controller.quorum.bootstrap.servers, node by node", func() error {
			for id := 1; id <= 3; id++ {
				if err := errors.Join(c.End(id, os.Interrupt), c.bootstrapServers(id), c.Start(id), c.Await(ctx, id)); err != nil {
					return err
				}
			}
			return errors.Join(c.voter(ctx, 1), c.voter(ctx, 2), c.voter(ctx, 3))
		}},
		{"a node without its directory is none of the voters", func() error {
			if wiped, err = c.directory(ctx, 3); err != nil {
				return err
			}
			err := errors.Join(c.End(3, os.Kill), os.RemoveAll(filepath.Join(filepath.Dir(c.Properties(3)), "data")),
				c.FormatNode(ctx, 3, "--no-initial-controllers"), c.Start(3), c.Await(ctx, 3))
			if err != nil {
				return err
			}
			now, err := c.directory(ctx, 3)
			if err = errors.Join(err, c.patiently(ctx, func() error { return c.voting(ctx, now, "Observer") })); err != nil {
				return err
			}
			return c.patiently(ctx, func() error { // the active controller of Apache Kafka may change meanwhile
				_, err := c.admin(ctx, quorum, "--command-config", c.Properties(3), "add-controller")
				return refused(err, "is already part of the set of voters")
			})
		}},
		{"it is added in the place of the former one", func() error {
			if err := c.patiently(ctx, func() error {
				_, err := c.admin(ctx, quorum, "remove-controller", "--controller-id", "3", "--controller-directory-id", wiped)
				if err != nil && strings.Contains(err.Error(), "VoterNotFound") { // an attempt without an answer has done it
					return nil
				}
				return err
			}); err != nil {
				return err
			}
			return c.patiently(ctx, func() error {
				if _, err := c.admin(ctx, quorum, "--command-config", c.Properties(3), "add-controller"); refused(err, "is already part of the set of voters") != nil && err != nil {
					return err
				}
				return c.voter(ctx, 3)
			})
		}},
		{"all are killed and come back", func() error {
			for id := 1; id <= 3; id++ {
				if err := c.End(id, os.Kill); err != nil {
					return err
				}
			}
			if err := c.StartAll(ctx); err != nil {
				return err
			}
			return errors.Join(c.voter(ctx, 1), c.voter(ctx, 2), c.voter(ctx, 3), c.reaches(ctx, "kraft.version", "1"))
		}},
	}), nil
}

// raiseKRaftVersion has Kafka's tool do it. An attempt without an answer may have done it.
func (c *cluster) raiseKRaftVersion(ctx context.Context) error {
	return c.patiently(ctx, func() error {
		_, err := c.admin(ctx, features, "upgrade", "--feature", "kraft.version=1")
		if c.level(ctx, "kraft.version", "1") == nil {
			return nil
		}
		return errors.Join(errors.New("kraft.version is not 1"), err)
	})
}

// refused wants a command to have failed for a reason.
func refused(err error, why string) error {
	if err == nil || !strings.Contains(err.Error(), why) {
		return fmt.Errorf("%w, want one with %q", errors.Join(errors.New("the answer was no such refusal"), err), why)
	}
	return nil
}

// voter wants a node to be one of the voters, under the directory that it is on.
func (c *cluster) voter(ctx context.Context, id int) error {
	directory, err := c.directory(ctx, id)
	if err != nil {
		return err
	}
	return c.patiently(ctx, func() error {
		if err := c.voting(ctx, directory, "Follower"); err != nil {
			return c.voting(ctx, directory, "Leader")
		}
		return nil
	})
}

// patiently tries until something holds, for as long as a machine that is busy with other things may need.
func (c *cluster) patiently(ctx context.Context, try func() error) error {
	limit, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := try()
		if err == nil || limit.Err() != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// bootstrapServers puts controller.quorum.bootstrap.servers in the place of controller.quorum.voters.
func (c *cluster) bootstrapServers(id int) error {
	text, err := os.ReadFile(c.Properties(id))
	if err != nil {
		return err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "controller.quorum.voters=") {
			line = fmt.Sprintf("controller.quorum.bootstrap.servers=%s,%s,%s\n", c.Controller(1), c.Controller(2), c.Controller(3))
		}
		lines = append(lines, line)
	}
	return os.WriteFile(c.Properties(id), []byte(strings.Join(lines, "")), 0o644)
}

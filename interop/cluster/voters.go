package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/logstead/logstead/interop/local"
)

// voters begins a quorum of one at the levels of 3.9, and has Kafka's tool and our command line add and remove a second
// controller.
func voters(ctx context.Context, root, dir string) (failed int, err error) {
	nodes, err := local.NewCluster(ctx, "logstead", filepath.Join(dir, "voters"), 2)
	if err != nil {
		return 0, err
	}
	c := &cluster{Cluster: nodes, root: root}
	defer c.Close()
	if err := errors.Join(c.FormatDynamic(ctx, "--release-version", "3.9"), c.StartAll(ctx)); err != nil {
		return 0, err
	}
	second, err := c.directory(ctx, 2)
	if err != nil {
		return 0, err
	}
	return play("voters", []act{
		{"kafka-features: kraft.version is 1, and stays with other levels raised", func() error {
			if _, err := c.admin(ctx, features, "upgrade", "--feature", "metadata.version=25", "--feature", "kraft.version=1"); err != nil {
				return err
			}
			return c.patiently(ctx, func() error {
				out, err := c.admin(ctx, features, "describe")
				_, err = has(out, err, "FinalizedVersionLevel: 4.0-IV3",
					"Feature: kraft.version SupportedMinVersion: 0 SupportedMaxVersion: 1 FinalizedVersionLevel: 1")
				return err
			})
		}},
		{"kafka-metadata-quorum add-controller", func() error {
			return c.changed(ctx, second, "Follower", func() error {
				_, err := c.admin(ctx, quorum, "--command-config", c.Properties(2), "add-controller")
				return err
			})
		}},
		{"kafka-metadata-quorum remove-controller", func() error {
			return c.changed(ctx, second, "Observer", func() error {
				_, err := c.admin(ctx, quorum, "remove-controller", "--controller-id", "2", "--controller-directory-id", second)
				return err
			})
		}},
		{"logstead quorum add", func() error {
			return c.changed(ctx, second, "Follower", func() error {
				_, err := c.cli(ctx, "quorum", "add", "2", "--controller", c.Controller(2), "-y")
				return err
			})
		}},
		{"logstead quorum remove", func() error {
			return c.changed(ctx, second, "Observer", func() error {
				_, err := c.cli(ctx, "quorum", "remove", "2", "-y")
				return err
			})
		}},
	}), nil
}

// changed changes the quorum and wants a directory to be in a state then. An attempt without an answer may have done it, and the next
// one is refused; the state may be told late.
func (c *cluster) changed(ctx context.Context, directory, state string, change func() error) error {
	return c.patiently(ctx, func() error {
		err := change()
		told := c.voting(ctx, directory, state)
		if err != nil && told == nil {
			fmt.Printf("again    %-8s done by an attempt before, or without an answer: %s\n", c.Kind, oneLine(err.Error()))
		}
		if told == nil {
			return nil
		}
		return errors.Join(err, told)
	})
}

// voting wants the directory of a node to be in a state, as Kafka's tool shows it.
func (c *cluster) voting(ctx context.Context, directory, state string) error {
	out, err := c.admin(ctx, quorum, "describe", "--replication")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, directory) && strings.Contains(line, state) {
			return nil
		}
	}
	return fmt.Errorf("directory %s is not that of a %s: %s", directory, state, oneLine(out))
}

// directory is the id of a node's log directory.
func (c *cluster) directory(ctx context.Context, id int) (string, error) {
	out, err := c.cli(ctx, "storage", "info", "--config", c.Properties(id), "-o", "json")
	if err != nil {
		return "", err
	}
	var dirs []struct {
		ID string `json:"directory_id"`
	}
	if err := json.Unmarshal([]byte(out), &dirs); err != nil || len(dirs) != 1 {
		return "", fmt.Errorf("%s of %s: %w", out, c.Properties(id), errors.Join(err, os.ErrInvalid))
	}
	return dirs[0].ID, nil
}

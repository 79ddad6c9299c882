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
			out, err := c.admin(ctx, features, "describe")
			_, err = has(out, err, "FinalizedVersionLevel: 4.0-IV3",
				"Feature: kraft.version SupportedMinVersion: 0 SupportedMaxVersion: 1 FinalizedVersionLevel: 1")
			return err
		}},
		{"kafka-metadata-quorum add-controller", func() error {
			_, err := c.admin(ctx, quorum, "--command-config", c.Properties(2), "add-controller")
			return errors.Join(err, c.voting(ctx, second, "Follower"))
		}},
		{"kafka-metadata-quorum remove-controller", func() error {
			_, err := c.admin(ctx, quorum, "remove-controller", "--controller-id", "2", "--controller-directory-id", second)
			return errors.Join(err, c.voting(ctx, second, "Observer"))
		}},
		{"logstead quorum add", func() error {
			_, err := c.cli(ctx, "quorum", "add", "2", "--controller", c.Controller(2), "-y")
			return errors.Join(err, c.voting(ctx, second, "Follower"))
		}},
		{"logstead quorum remove", func() error {
			_, err := c.cli(ctx, "quorum", "remove", "2", "-y")
			return errors.Join(err, c.voting(ctx, second, "Observer"))
		}},
	}), nil
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

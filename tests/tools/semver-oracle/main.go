// SPDX-License-Identifier: Apache-2.0

// Command semver-oracle answers as Flux would which versions are in a range,
// which tags are the highest of them, and what a regular expression matches.
// It reads one question a line as JSON and writes one answer a line, in the
// same order, until its input ends.
package main

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"os"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/fluxcd/pkg/version"
)

type question struct {
	// Either a range with versions to look at alone, and tags to choose from.
	Range    *string  `json:"range"`
	Versions []string `json:"versions"`
	Tags     []string `json:"tags"`
	Helm     bool     `json:"helm"`
	// Or a pattern with texts to match.
	Pattern *string  `json:"pattern"`
	Texts   []string `json:"texts"`
}

type answer struct {
	// Why the range or pattern is refused.
	Error string `json:"error,omitempty"`
	// One letter for each version: y in the range, n not in it, s a version
	// of fewer than three parts, u not a version. For each text: y or n.
	Verdicts string `json:"verdicts"`
	// The places of the tags in the range that no other tag exceeds.
	Best []int `json:"best,omitempty"`
}

func main() {
	in := json.NewDecoder(bufio.NewReaderSize(os.Stdin, 1<<20))
	buffered := bufio.NewWriterSize(os.Stdout, 1<<20)
	out := json.NewEncoder(buffered)
	for {
		var q question
		if err := in.Decode(&q); err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(answerTo(q)); err != nil {
			log.Fatal(err)
		}
	}
	if err := buffered.Flush(); err != nil {
		log.Fatal(err)
	}
}

func answerTo(q question) answer {
	if q.Pattern != nil {
		return match(*q.Pattern, q.Texts)
	}
	if q.Range == nil {
		log.Fatal("a question has neither a range nor a pattern")
	}
	constraint, err := semver.NewConstraint(*q.Range)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{
		Verdicts: verdicts(constraint, q.Versions),
		Best:     best(constraint, q.Tags, q.Helm),
	}
}

func match(pattern string, texts []string) answer {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return answer{Error: err.Error()}
	}
	var letters strings.Builder
	for _, text := range texts {
		letters.WriteByte(letter(re.MatchString(text)))
	}
	return answer{Verdicts: letters.String()}
}

func verdicts(constraint *semver.Constraints, versions []string) string {
	var letters strings.Builder
	for _, text := range versions {
		v, err := version.ParseVersion(text)
		if err == nil {
			letters.WriteByte(letter(constraint.Check(v)))
		} else if v, err = semver.NewVersion(text); err == nil {
			letters.WriteByte('s')
		} else {
			letters.WriteByte('u')
		}
	}
	return letters.String()
}

func best(constraint *semver.Constraints, tags []string, helm bool) []int {
	var highest *semver.Version
	var places []int
	for place, tag := range tags {
		if helm {
			tag = strings.ReplaceAll(tag, "_", "+")
		}
		v, err := version.ParseVersion(tag)
		if err != nil || !constraint.Check(v) {
			continue
		}
		if highest == nil || v.GreaterThan(highest) {
			highest, places = v, nil
		}
		if v.Equal(highest) {
			places = append(places, place)
		}
	}
	return places
}

func letter(yes bool) byte {
	if yes {
		return 'y'
	}
	return 'n'
}

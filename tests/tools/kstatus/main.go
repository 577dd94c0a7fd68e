// Says of every object on standard input (JSON, one after the other) what kstatus makes of it, one JSON line for each.
// It is the kstatus that Flux waits with; tests/second_opinions.py builds it, tests/chart/test_kstatus.py calls it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func main() {
	objects, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var text json.RawMessage
		err := objects.Decode(&text)
		if errors.Is(err, io.EOF) {
			return
		}
		object := &unstructured.Unstructured{}
		if err == nil {
			err = object.UnmarshalJSON(text)
		}
		var found *status.Result
		if err == nil {
			found, err = status.Compute(object)
		}
		if err == nil {
			err = answers.Encode(map[string]string{"status": string(found.Status), "message": found.Message})
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

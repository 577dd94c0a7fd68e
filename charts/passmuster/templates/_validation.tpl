{{/*
What values.schema.json cannot say in a sentence: everything that is wrong with the values and the release, at once.
*/}}
{{- define "passmuster.validation" -}}
{{- $wrong := list }}
{{- with .Values }}
{{- if ne $.Release.Namespace "passmuster-system" }}
{{- $wrong = append $wrong (printf "the namespace is %q: install with --namespace passmuster-system --create-namespace, because the admission policy of approvals knows the operator as passmuster-system/passmuster" $.Release.Namespace) }}
{{- end }}
{{- if not .image.repository }}
{{- $wrong = append $wrong "image.repository is empty: name the image in your registry, for example --set image.repository=registry.example.com/passmuster (built with docker build -t registry.example.com/passmuster:0.1.0 .)" }}
{{- else if regexMatch "(@|:[^/]*$|\\s)" .image.repository }}
{{- $wrong = append $wrong (printf "image.repository is %q: leave tag and digest out and set image.tag or image.digest" .image.repository) }}
{{- end }}
{{- if and .image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .image.digest)) }}
{{- $wrong = append $wrong (printf "image.digest is %q: write sha256: and 64 hexadecimal digits, or leave it empty and set image.tag" .image.digest) }}
{{- end }}
{{- if eq .aws.credentials "IRSA" }}
{{- if not (regexMatch "^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$" .aws.roleArn) }}
{{- $wrong = append $wrong (printf "aws.roleArn is %q: aws.credentials IRSA needs the ARN of the operator's role, for example arn:aws:iam::111111111111:role/passmuster-operator" .aws.roleArn) }}
{{- end }}
{{- else if .aws.roleArn }}
{{- $wrong = append $wrong (printf "aws.roleArn is set and aws.credentials is %s: set aws.credentials to IRSA, or leave aws.roleArn empty (an EKS Pod Identity association names its role itself)" .aws.credentials) }}
{{- end }}
{{- if and (eq .aws.credentials "Secret") (not .aws.secretName) }}
{{- $wrong = append $wrong "aws.secretName is empty: aws.credentials Secret needs the name of a Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" }}
{{- else if and .aws.secretName (ne .aws.credentials "Secret") }}
{{- $wrong = append $wrong (printf "aws.secretName is set and aws.credentials is %s: set aws.credentials to Secret, or leave aws.secretName empty" .aws.credentials) }}
{{- end }}
{{- if and .aws.region (not (regexMatch "^[a-z]{2}(-[a-z]+)+-[0-9]$" .aws.region)) }}
{{- $wrong = append $wrong (printf "aws.region is %q, which is no region: write for example eu-central-1" .aws.region) }}
{{- end }}
{{- range .operator.namespaces }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) }}
{{- $wrong = append $wrong (printf "operator.namespaces has %q, which is no name of a namespace: use lower case letters, digits and hyphens" .) }}
{{- end }}
{{- end }}
{{- if and .tracing.endpoint (not (regexMatch "^https?://[^/?#@\\s]+(/[^?#@\\s]*)?$" .tracing.endpoint)) }}
{{- $wrong = append $wrong "tracing.endpoint is no address of a collector: write it like http://otel-collector.observability:4318, and credentials into the Secret tracing.secretName" }}
{{- end }}
{{- if and .tracing.secretName (not .tracing.endpoint) }}
{{- $wrong = append $wrong "tracing.secretName is set and tracing.endpoint is empty: name the collector, or leave tracing.secretName empty" }}
{{- end }}
{{- if and .monitoring.rules.enabled (not ($.Files.Get "rules/passmuster.rules.yaml")) }}
{{- $wrong = append $wrong "monitoring.rules.enabled is true and this chart holds no rules: run make crds, or set it to false" }}
{{- end }}
{{- if and .monitoring.dashboards.enabled (not ($.Files.Glob "dashboards/*.json")) }}
{{- $wrong = append $wrong "monitoring.dashboards.enabled is true and this chart holds no dashboards: run make crds, or set it to false" }}
{{- end }}
{{- end }}
{{- if $wrong }}
{{- fail (printf "the values cannot be used:\n- %s" (join "\n- " $wrong)) }}
{{- end }}
{{- end }}

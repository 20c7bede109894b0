{{/* The arguments of `specdec run` that follow from the values. */}}
{{- define "specdec-operator.arguments" -}}
- --lease-name={{ include "specdec-operator.fullname" . }}
- --health-port={{ .Values.healthPort }}
- --metrics-port={{ .Values.metrics.port }}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- range include "specdec-operator.namespaces" . | fromJsonArray }}
- --namespace={{ . }}
{{- end }}
{{- end }}

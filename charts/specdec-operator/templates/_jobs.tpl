{{/* A Job cannot be changed, so all that its pods are made of is in its name: (dict "root" $ "kind" "loadtest" "values" ..) */}}
{{- define "specdec-operator.jobName" -}}
{{- $parts := list .values .root.Values.image .root.Values.imagePullSecrets .root.Chart.Version .root.Chart.AppVersion }}
{{- printf "%s-%s-%s" (include "specdec-operator.fullname" .root | trunc 40 | trimSuffix "-") .kind ($parts | toJson | sha256sum | trunc 8) }}
{{- end }}

{{/* A Job around one container: (dict "root" $ "name" .. "component" .. "pods" 1 "retries" 0 "deadlineSeconds" .. "namespace" (the release's if left out) "container" (its own fields) "volumes" ..)
     No time to live: Helm would make a Job that is gone again at the next upgrade, and with it another run. */}}
{{- define "specdec-operator.job" -}}
{{- $root := .root }}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  namespace: {{ default $root.Release.Namespace .namespace }}
  labels:
    {{- include "specdec-operator.labels" (dict "root" $root "component" .component) | nindent 4 }}
spec:
  completions: {{ .pods }}
  parallelism: {{ .pods }}
  backoffLimit: {{ .retries }}
  activeDeadlineSeconds: {{ .deadlineSeconds }}
  template:
    metadata:
      labels:
        {{- include "specdec-operator.labels" (dict "root" $root "component" .component) | nindent 8 }}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "specdec-operator.podSecurityContext" $root | nindent 8 }}
      containers:
        - {{- toYaml .container | nindent 10 }}
          securityContext:
            {{- include "specdec-operator.containerSecurityContext" $root | nindent 12 }}
          volumeMounts:
            {{- range .volumes }}
            - name: {{ .name }}
              mountPath: {{ .at }}
            {{- end }}
      volumes:
        {{- range .volumes }}
        - {{- omit . "at" | toYaml | nindent 10 }}
        {{- end }}
{{- end }}

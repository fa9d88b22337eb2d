package s3upload

// This file is all that uses feature/s3/manager; docs/decisions/0003 says why
// it is used and what would end that.
//
//lint:file-ignore SA1019 the decision note weighs the deprecation

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// run uploads what t reads, with t as the client. It leaves no goroutines, and
// the multipart upload, if it failed, to abandon.
func (t *transfer) run(ctx context.Context) (*manager.UploadOutput, error) {
	up := manager.NewUploader(t, func(u *manager.Uploader) {
		u.PartSize = t.partSize
		u.Concurrency = t.options.Concurrency
		u.LeavePartsOnError = true // it would abort under a context that is perhaps cancelled
		u.RequestChecksumCalculation = checksumCalculation(t.client)
	})
	t.in.Body = storedBody{t}
	return up.Upload(ctx, t.in)
}

// checksumCalculation returns the client's own setting. manager needs it to
// announce with CreateMultipartUpload what the client then sends with the parts.
func checksumCalculation(client Client) aws.RequestChecksumCalculation {
	c, ok := client.(interface{ Options() s3.Options })
	if !ok || c.Options().RequestChecksumCalculation == aws.RequestChecksumCalculationWhenSupported {
		return aws.RequestChecksumCalculationWhenSupported
	}
	return aws.RequestChecksumCalculationWhenRequired // also where it is not set: the client sends none
}

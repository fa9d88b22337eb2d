package s3upload_test

import (
	"context"
	"errors"
	"log"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3upload"
)

// A program that uploads a large file, and goes on where it was when it is
// started again after a crash, or when the network was away.
func ExampleUploader_UploadResumable() {
	ctx := context.Background()
	key, err := keywrap.GenerateAESKey("backups") // keep it: the journal does not hold it
	if err != nil {
		log.Fatal(err)
	}
	client := s3.New(s3.Options{Region: "eu-central-1"})
	budget := s3upload.NewBudget(256 << 20) // of all uploads of this program

	up := s3upload.New(client, key, &s3upload.Options{Budget: budget})
	for {
		file, err := os.Open("disk.img")
		if err != nil {
			log.Fatal(err)
		}
		_, err = up.UploadResumable(ctx, &s3.PutObjectInput{
			Bucket: aws.String("backups"), Key: aws.String("disk.img"), Body: file,
		}, key, "disk.img.journal")
		file.Close()
		failed, ok := errors.AsType[*s3upload.UploadError](err)
		if !ok || failed.Journal == "" || errors.Is(err, s3upload.ErrSourceChanged) {
			if err != nil {
				log.Fatal(err)
			}
			return
		}
		log.Print(err)
		time.Sleep(time.Minute)
	}
}

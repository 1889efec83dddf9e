/** Answers, boxes and embeddings of images in DataFrames of Apache Spark. */
package stormsight.spark;
